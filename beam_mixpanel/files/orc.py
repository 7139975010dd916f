"""ORC files as Arrow record batches: stripes shared out, and only the columns that are needed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa

from beam_mixpanel.core.formats import kinds
from beam_mixpanel.core.formats.orc_tail import NANOSECONDS_END_MS, OrcTail
from beam_mixpanel.core.rows.batches import RowBatch
from beam_mixpanel.files.checks import reading
from beam_mixpanel.files.listing import open_file
from beam_mixpanel.files.row_file import Format, RowFile, RowSettings, as_wanted, check_names
from beam_mixpanel.metrics import LIVE

BATCH_ROWS: Final = 8_192
_CHECKS_MOMENTS: Final = 25
"""This release of Arrow raises where a moment has no room in 64 bits of nanoseconds; others wrap it, silently."""


class OrcPart(NamedTuple):
    """Some stripes of an ORC file, which together with an end of their own are a file again.

    Attributes:
      path: the file.
      stop: one past the last byte of the last stripe.
      tail: the end that lists these stripes.
      first_row: the number of their first row in the file.
      rows: how many rows they hold.
      size_bytes: their size, as it is stored.
    """

    path: str
    stop: int
    tail: bytes
    first_row: int
    rows: int
    size_bytes: int


def columns(file: RowFile, settings: RowSettings) -> list[str]:
    """Return the names of a file's columns."""
    with open_file(file.path) as raw, reading(file.path):
        return _open(raw)[0]


def split(file: RowFile, settings: RowSettings) -> Iterator[OrcPart]:
    """Gather stripes to parts of about `range_bytes`."""
    with open_file(file.path) as raw, reading(file.path):
        names, tail = _open(raw)
        _check_moments(tail, names, settings)
        chosen: list[int] = []
        first_row = rows = size_bytes = 0
        for number, stripe in enumerate(tail.stripes):
            chosen.append(number)
            rows += stripe.rows
            size_bytes += stripe.stop - stripe.start
            if size_bytes >= settings.range_bytes or number == len(tail.stripes) - 1:
                yield OrcPart(file.path, stripe.stop, tail.only(chosen), first_row, rows, size_bytes)
                chosen, first_row, rows, size_bytes = [], first_row + rows, 0, 0


def read(part: OrcPart, settings: RowSettings) -> Iterator[RowBatch]:
    """Read a part; a column that was asked for and is not there is null."""
    with open_file(part.path) as raw, reading(part.path):
        file = _module("pyarrow.dataset").OrcFileFormat().make_fragment(pa.PythonFile(_Stripes(raw, part), mode="r"))
        names = file.physical_schema.names
        wanted = names if settings.columns is None else list(settings.columns)
        # Rows are counted by their columns, so at least one is read.
        needed = [name for name in wanted if name in names] or names[:1]
        read_rows = 0
        # Nothing is read ahead: a batch waits until it is taken.
        for batch in file.to_batches(
            columns=needed, batch_size=BATCH_ROWS, batch_readahead=0, fragment_readahead=0, use_threads=False
        ):
            if batch.num_rows:
                yield RowBatch(as_wanted(batch, wanted), part.path, part.first_row + read_rows)
            read_rows += batch.num_rows
        if read_rows != part.rows:
            raise ValueError(f"{read_rows} rows are there of the {part.rows} that its end lists")
        LIVE.add("input_bytes", part.size_bytes)


class _Stripes:
    """A file as Arrow reads it: the bytes of the stripes where they are, and behind them the end that lists them."""

    closed = False

    def __init__(self, raw: Any, part: OrcPart) -> None:
        self._raw = raw
        self._stop = part.stop
        self._tail = part.tail
        self._at = 0

    def readable(self) -> bool:
        """Say so."""
        return True

    def seekable(self) -> bool:
        """Say so."""
        return True

    def close(self) -> None:
        """Leave the file to whoever opened it."""
        self.closed = True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, from the beginning, from here, or from the end."""
        origins = (0, self._at, self._stop + len(self._tail))
        self._at = origins[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, fewer at the end only."""
        end = self._stop + len(self._tail)
        until = end if size < 0 else min(self._at + size, end)
        data = b""
        if self._at < self._stop:
            self._raw.seek(self._at)
            data = self._raw.read(min(until, self._stop) - self._at)
        if until > self._stop:
            data += self._tail[max(self._at - self._stop, 0) : until - self._stop]
        self._at += len(data)
        return data


def _open(raw: Any) -> tuple[list[str], OrcTail]:
    """Read the names of the columns, and the end of a file.

    Raises:
      ValueError: there is no way to read it; for `reading` to name the file.
    """
    file = _module("pyarrow.orc").ORCFile(pa.PythonFile(raw, mode="r"))
    tail = OrcTail(file.reader.serialized_file_tail())
    if tail.is_encrypted:
        raise ValueError("some of its columns are encrypted; write them without, or export them in another way")
    return check_names(file.schema.names), tail


def _module(name: str) -> Any:
    """Load a part of Arrow, which its wheels have and other builds may lack.

    Raises:
      ValueError: it is not there; for `reading` to name the file.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError("this build of pyarrow cannot read ORC; install it from PyPI: pip install pyarrow") from None


def _check_moments(tail: OrcTail, names: list[str], settings: RowSettings) -> None:
    """Refuse moments that Arrow cannot hold, such as 9999-12-31 for no end, rather than read them as others.

    Raises:
      ValueError: there are some in a column that is read.
    """
    checks_itself = int(pa.__version__.partition(".")[0]) >= _CHECKS_MOMENTS
    for moments in tail.moments():
        name = names[moments.column]
        if settings.columns is not None and name not in settings.columns:
            continue
        if moments.bounds_ms is None:
            if not checks_itself:
                raise ValueError(f"its column {name!r} has no statistics: install pyarrow {_CHECKS_MOMENTS} or newer")
        elif max(map(abs, moments.bounds_ms)) >= NANOSECONDS_END_MS:
            raise ValueError(
                f"its column {name!r} holds moments before 1677 or after 2262, for which Arrow's reader of ORC has no "
                "room; leave the column out, or write them as text"
            )


FORMATS: Final = (Format(kinds.ORC, columns, split, read),)
