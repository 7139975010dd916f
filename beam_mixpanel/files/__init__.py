"""Files: listing, checks, compression, and one module a format."""
