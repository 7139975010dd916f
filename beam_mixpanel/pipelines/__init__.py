"""The jobs, one file each: `beam-mixpanel import files --help`."""
