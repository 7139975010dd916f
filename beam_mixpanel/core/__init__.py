"""Decisions as plain functions over values: no Beam, no I/O, no clock, no chance."""
