"""Runs a pipeline for a person: arguments, progress, books, exit code."""
