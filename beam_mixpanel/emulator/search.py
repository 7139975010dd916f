"""Finds the latest events by parts of their name and ids, among millions.

Each event has a label, some fifth of its size: what can be searched for, in lower case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beam_mixpanel.emulator.view import LabelBlock

SEPARATOR = "\0"
SEPARATORS = 2
_OUT_OF_THE_WAY = str.maketrans({SEPARATOR: " ", "\n": " "})


def label(name: str, distinct_id: str, insert_id: str) -> str:
    """Return what an event can be found by."""
    return f"{name}{SEPARATOR}{distinct_id}{SEPARATOR}{insert_id}"


def label_lines(labels: Sequence[str]) -> bytes:
    """Return labels as lines that can be searched."""
    text = "\n".join(labels)
    if text.count("\n") != len(labels) - 1 or text.count(SEPARATOR) != SEPARATORS * len(labels):
        text = "\n".join(map(_unambiguous, labels))
    return text.lower().encode(errors="replace") + b"\n"


def _unambiguous(label: str) -> str:
    """Replace what separates labels, and what separates their parts but for the first and the last one."""
    name, _, rest = label.partition(SEPARATOR)
    distinct_id, _, insert_id = rest.rpartition(SEPARATOR)
    return SEPARATOR.join(part.translate(_OUT_OF_THE_WAY) for part in (name, distinct_id, insert_id))


@dataclass(frozen=True)
class EventFilter:
    """What an event's label has to contain; case does not matter.

    Attributes:
      name_part: part of the name; empty is any.
      id_part: part of the distinct_id or the $insert_id; empty is any.
    """

    name_part: str = ""
    id_part: str = ""

    def find(self, block: LabelBlock) -> Iterator[int]:
        """Yield the numbers of the events of a block that match, newest first."""
        name_part, id_part = self.name_part.lower().encode(), self.id_part.lower().encode()
        needle, lines = name_part or id_part, block.lines
        number, begin = block.first_number + block.events, len(lines)
        counted = begin
        while begin and (place := lines.rfind(needle, 0, begin - 1)) >= 0:
            begin = lines.rfind(b"\n", 0, place) + 1
            name_end = lines.index(b"\0", begin)
            if lines.find(name_part, begin, name_end) < 0:
                continue
            ids = lines[name_end + 1 : lines.index(b"\n", place)]
            if id_part in ids:
                number -= lines.count(b"\n", begin, counted)
                counted = begin
                yield number
