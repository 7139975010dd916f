"""The transforms for Beam YAML: `providers.yaml` beside this file lists them, docs/yaml.md shows them.

Their arguments are their configuration, so these have types that YAML has. Rows come in and rows go out, but for what
the readers here hand to `WriteToMixpanel`, which only that takes.
"""

from importlib.resources import files
from typing import Final

from beam_mixpanel.yaml.read import (
    ReadFromBigQueryBatched,
    ReadFromFilesBatched,
    ReadFromMongoDBBatched,
    ReadFromSqlBatched,
)
from beam_mixpanel.yaml.write import WriteToMixpanel

PROVIDERS: Final = str(files("beam_mixpanel") / "yaml" / "providers.yaml")
"""The file to include."""

__all__ = [
    "PROVIDERS",
    "ReadFromBigQueryBatched",
    "ReadFromFilesBatched",
    "ReadFromMongoDBBatched",
    "ReadFromSqlBatched",
    "WriteToMixpanel",
]
