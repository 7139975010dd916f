"""The pages of a check and of a run."""
