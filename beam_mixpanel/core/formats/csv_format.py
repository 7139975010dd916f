"""How a CSV file is written, and its header."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from beam_mixpanel.core import arguments
from beam_mixpanel.core.arguments import check_flag, check_text, wrong_type
from beam_mixpanel.core.formats import csv_types
from beam_mixpanel.core.formats.csv_ranges import find_record
from beam_mixpanel.core.formats.marked_text import encoding_of, is_marked
from beam_mixpanel.errors import CsvHeaderError

_MEND_HEADER: Final = "mend the header, or give the names as `csv.columns` and take the header away"
_BYTEWISE: Final = frozenset({"utf-8", "utf-8-sig", "ascii", "iso8859-1", "iso8859-15", "cp1252"})
"""Encodings in which quotes, delimiters and line breaks are bytes of their own, so that a file can be cut anywhere."""


class CsvFormat(NamedTuple):
    """How CSV files are written, as the user says.

    Attributes:
      delimiter: what separates fields; None for a comma, and for a tab in TSV files.
      columns: the names of the columns, where the files have no header.
      encoding: of the files; UTF-16 is told by its first bytes.
      types: `text`, `number` or `boolean` by column; others are typed by rule.
      text: no column is typed by rule.
    """

    delimiter: str | None = None
    columns: tuple[str, ...] = ()
    encoding: str = "utf-8"
    types: Mapping[str, str] = {}
    text: bool = False

    @classmethod
    def from_flags(
        cls, delimiter: str | None, columns: str | None, encoding: str, types: Sequence[str], *, text: bool
    ) -> CsvFormat:
        r"""Read what the command line says.

        Args:
          delimiter: a character, or `\t`.
          columns: names separated by commas, in quotes where they hold some.
          encoding: a name.
          types: texts such as `name:text,price:number`.
          text: no column is typed by rule.

        Raises:
          ValueError: a setting is wrong; the message names the cure.
        """
        given: dict[str, str] = {}
        for item in (item for some in types for item in _listed(some)):
            column, colon, kind = item.rpartition(":")
            if not colon:
                raise ValueError(f"a type is given as COLUMN:TYPE, got {item!r}")
            given[column] = kind
        names = tuple(_listed(columns)) if columns else ()
        form = cls("\t" if delimiter == "\\t" else delimiter, names, encoding, given, text)
        form.check()
        return form

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
          TypeError: a setting has the wrong type.
          ValueError: a setting is wrong; the message names the cure.
        """
        if not isinstance(self.delimiter, (str, type(None))):
            raise wrong_type("csv.delimiter", "one ASCII character", self.delimiter)
        arguments.check_names("csv.columns", self.columns, "columns")
        check_text("csv.encoding", self.encoding, "a name such as utf-8 or cp1252")
        if not isinstance(self.types, Mapping):
            raise wrong_type("csv.types", "a dict of types by column, such as {'price': 'number'}", self.types)
        check_flag("csv.text", self.text)
        if self.delimiter is not None and (
            len(self.delimiter) != 1 or self.delimiter in '"\r\n' or not self.delimiter.isascii()
        ):
            raise ValueError(f"`csv.delimiter` must be one ASCII character, such as ; or |, got {self.delimiter!r}")
        check_names(self.columns, "the given columns") if self.columns else None
        for column, kind in self.types.items():
            if kind not in csv_types.COLUMN_TYPES:
                raise ValueError(
                    f"the type of {column!r} must be one of {', '.join(csv_types.COLUMN_TYPES)}, got {kind!r}"
                )
        try:
            encoding_of(b"", self.encoding)
        except LookupError:
            raise ValueError(
                f"`csv.encoding` {self.encoding!r} is unknown; use a name such as utf-8 or cp1252"
            ) from None


def is_bytewise(encoding: str) -> bool:
    """Tell whether a file of this encoding can be cut anywhere."""
    return encoding in _BYTEWISE


def _listed(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise ValueError(f"{text[:80]!r} is no list on one line ({error})") from error


def header_end(data: bytes) -> int | None:
    """Find where the first record of a file ends and the next begins; None if it is not in these bytes.

    Args:
      data: the beginning of the file, without a BOM.
    """
    begins = find_record(io.BytesIO(b"\n" + data), 0, inside=False)
    if begins >= len(data):
        return None
    following = io.BytesIO(data)
    following.seek(begins)
    end = find_record(following, begins + 1, inside=data[begins : begins + 1] == b'"')
    if end < len(data):
        return end
    return None


def header_names(record: str, delimiter: str) -> list[str]:
    """Read the names of the columns from the first record of a file.

    Raises:
      CsvHeaderError: a name is missing, or there twice, or not text.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(record, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise CsvHeaderError(f"the header is not readable ({error}); {_MEND_HEADER}") from error
    names = rows[0] if rows else []
    check_names(names, "the header")
    return names


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse names that do not name columns.

    Raises:
      CsvHeaderError: a name is missing, or there twice, or not text.
    """
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise CsvHeaderError(f"{where}: column {place} has no name; {_MEND_HEADER}")
        if is_marked(name):
            raise CsvHeaderError(f"{where}: the name of column {place} is not in the encoding; give `csv.encoding`")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise CsvHeaderError(f"{where}: more than one column is named {twice[0]!r}; {_MEND_HEADER}")
