"""Rows to events: the mapping, and the two ways to apply it."""
