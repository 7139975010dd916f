"""Ready pipelines: `python -m pipelines.files_to_mixpanel --help`."""
