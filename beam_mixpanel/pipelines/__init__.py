"""Ready pipelines: `python -m beam_mixpanel.pipelines.files_to_mixpanel --help`."""

import logging

logging.disable(logging.WARNING)
try:
    import apache_beam  # noqa: F401 - warns of extras that these pipelines do not need, so import it quietly
finally:
    logging.disable(logging.NOTSET)

logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
