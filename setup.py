"""Lets Beam's `--setup_file` stage the package; everything it says is in pyproject.toml."""

from setuptools import setup

setup()
