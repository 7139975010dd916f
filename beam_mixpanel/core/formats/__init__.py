"""How text and files are cut, told apart and typed."""
