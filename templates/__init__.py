"""Flex templates of Dataflow: an image, and a description of each pipeline's parameters."""
