"""The only package code that imports Beam."""
