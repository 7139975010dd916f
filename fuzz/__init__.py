"""Feeds hostile input to the core and holds its laws against it; see `make fuzz`."""
