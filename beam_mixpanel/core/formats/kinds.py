"""Which formats of files there are, as data: their names, and what a file is recognized by.

A format is an entry here and the module of `beam_mixpanel.files` that the entry names, which holds how files are read.
Everything that lists or recognizes formats reads this table. It is apart from the readers because options, help and
completion need it without loading Arrow or Beam.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A format of files.

    Attributes:
      name: what options and arguments call it.
      title: what messages and help call it.
      suffixes: of file names, without the dot; the first is the one that messages suggest.
      reader: the module of `beam_mixpanel.files` whose `FORMATS` hold this format.
      magic: the first bytes of every file; empty where any bytes may come first.
      is_compressed_inside: files must be read from their end, and cannot be compressed as a whole.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    reader: str
    magic: bytes = b""
    is_compressed_inside: bool = False


AUTO: Final = "auto"
"""Not a format: each file's is detected."""

NDJSON: Final = Kind("ndjson", "NDJSON", ("ndjson", "jsonl"), "ndjson")
JSON: Final = Kind("json", "JSON", ("json",), "json")
CSV: Final = Kind("csv", "CSV", ("csv",), "csv")
TSV: Final = Kind("tsv", "TSV", ("tsv", "tab"), "csv")
AVRO: Final = Kind("avro", "Avro", ("avro",), "avro", magic=b"Obj\x01")
PARQUET: Final = Kind("parquet", "Parquet", ("parquet", "pq"), "parquet", magic=b"PAR1", is_compressed_inside=True)
ORC: Final = Kind("orc", "ORC", ("orc",), "orc", magic=b"ORC", is_compressed_inside=True)

KINDS: Final = (NDJSON, JSON, CSV, TSV, AVRO, PARQUET, ORC)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
DELIMITED: Final = frozenset({CSV.name, TSV.name})
"""The formats that `CsvFormat` describes."""


def in_words() -> str:
    """Return the titles of all formats, as text."""
    *most, last = [kind.title for kind in KINDS]
    return f"{', '.join(most)} and {last}"
