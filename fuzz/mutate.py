"""Makes hostile input: composes events of pieces at the boundaries, and damages them; the same for the same seed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from fuzz import corpus
from fuzz.laws import NOW_MS, Verdict

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|[\[\]{}:,]')
_LONGEST: Final = 6_000
_MOST_SCANNED: Final = 300
_KEPT_PER_VERDICT: Final = 6
_Item = TypeVar("_Item")


class Mutator:
    """Draws lines, objects, letters and answers.

    Args:
      seed: what is drawn follows from it, and from the verdicts that were reported.
    """

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._random = self._draw.random
        self._pool = list(corpus.LINES)
        self._kept: dict[Verdict, int] = {}

    def pick(self, items: Sequence[_Item]) -> _Item:
        """Draw one of some items."""
        return items[int(self._random() * len(items))]

    def chance(self, probability: float) -> bool:
        """Say yes so often."""
        return self._random() < probability

    @property
    def verdicts(self) -> int:
        """How many kinds of verdicts were seen."""
        return len(self._kept)

    def learn(self, line: bytes, verdict: Verdict) -> None:
        """Keep a line whose verdict is seldom, to go on from there."""
        kept = self._kept.get(verdict, 0)
        if kept < _KEPT_PER_VERDICT and len(line) < _LONGEST:
            self._kept[verdict] = kept + 1
            self._pool.append(line)

    def block(self) -> bytes:
        """Draw some lines: all in form, all in form but one, or all wild."""
        count = self.pick((1, 2, 4, 16, 48, 96))
        mood = self._random()
        if mood < 0.25:
            lines = [self.good_line() for _ in range(count)]
        elif mood < 0.5:
            lines = [self.good_line() for _ in range(count)]
            lines[int(self._random() * count)] = self.line()
        else:
            lines = [self.line() for _ in range(count)]
        data = b"\n".join(lines)
        return data + b"\n" if self.chance(0.7) else data

    def good_line(self) -> bytes:
        """Draw an event in form, perhaps with many properties."""
        fields = [b'"time":' + self.pick(corpus.GOOD_TIMES), b'"$insert_id":' + self.pick(corpus.GOOD_INSERT_IDS)]
        if self.chance(0.7):
            fields.append(b'"distinct_id":"u-%d"' % int(self._random() * 1000))
        while self.chance(0.5):
            fields.append(self.pick(corpus.GOOD_EXTRAS))
        if self.chance(0.005):
            fields.append(b'"big":' + self.pick(corpus.BIG_VALUES))
        if self.chance(0.003):
            fields += [b'"f%d":%d' % (number, number) for number in range(254 - len(fields))]
        self._draw.shuffle(fields)
        return b'{"event":"Page View","properties":{%s}}' % b",".join(fields)

    def line(self) -> bytes:
        """Draw a line that may break any rule."""
        way = self._random()
        if way < 0.0002:
            return self.pick(corpus.HUGE)
        if way < 0.02:
            return self._draw.randbytes(int(self._random() * 40)).replace(b"\n", b"")
        line = self._compose() if way < 0.4 else self.pick(self._pool) if way < 0.9 else self.good_line()
        while self.chance(0.6):
            line = self._damage(line)
        return line.replace(b"\n", b" ") if b"\n" in line else line

    def _compose(self) -> bytes:
        fields = []
        for key, values, presence in _FIELDS:
            if self.chance(presence):
                fields.append(key + (self.pick(values) if self.chance(0.3) else values[0]))
        while self.chance(0.4):
            fields.append(b"%s:%s" % (self.pick(corpus.KEYS), self.pick(corpus.VALUES)))
        if self.chance(0.01):
            fields.append(b'"big":' + self.pick(corpus.BIG_VALUES))
        if self.chance(0.005):
            count = 250 + int(self._random() * 7) - len(fields)
            fields += [b'"f%d":%d' % (number, number) for number in range(count)]
        self._draw.shuffle(fields)
        name = self.pick(corpus.NAMES) if self.chance(0.2) else b'"e"'
        if self.chance(0.15):
            return b'{"%s":%s,%s}' % (self.pick((b"event", b"event_name")), name, b",".join(fields))
        if self.chance(0.1):
            cut = int(self._random() * (len(fields) + 1))
            beside, inside = fields[:cut], fields[cut // 2 :]
            return b'{"event":%s,%s}' % (name, b",".join([b'"properties":{%s}' % b",".join(inside), *beside]))
        return b'{"event":%s,"properties":{%s}}' % (name, b",".join(fields))

    def _damage(self, line: bytes) -> bytes:
        way = int(self._random() * 8)
        if way < 4:
            return self._replace_token(line)
        start = int(self._random() * (len(line) + 1))
        stop = start + int(self._random() * 4)
        if way == 4:
            return line[:start] + line[stop:]
        if way == 5:
            other = self.pick(self._pool)
            return line[:start] + other[int(self._random() * len(other)) :]
        if way == 6 and len(line) < _LONGEST:
            stop = start + int(self._random() * 60)
            return line[:stop] + self.pick((b"", b",", b"\n")) + line[start:]
        return line[:start] + self.pick(corpus.PIECES) + line[start if self.chance(0.5) else stop :]

    def _replace_token(self, line: bytes) -> bytes:
        begin = 0 if len(line) < _MOST_SCANNED else int(self._random() * (len(line) - _MOST_SCANNED))
        tokens = [match.span() for match in _TOKEN.finditer(line, begin, begin + _MOST_SCANNED)]
        if not tokens:
            return line + self.pick(corpus.PIECES)
        start, stop = self.pick(tokens)
        new = self.pick(self.pick(_TOKENS) if self.chance(0.99) else corpus.BIG_VALUES)
        if self.chance(0.1):
            new = line[start:stop] + b"," + new
        return line[:start] + new + line[stop:]

    def value(self) -> Any:
        """Draw a JSON value as an object, some of its values replaced by what only Python knows."""
        try:
            value = json.loads(self.line())
        except (ValueError, RecursionError):
            value = {"event": "e", "properties": {"time": self.pick(corpus.PYTHON_VALUES), "a": 1}}
        return self._replace_values(value, 0) if self.chance(0.6) else value

    def _replace_values(self, value: Any, level: int) -> Any:
        if self.chance(0.1) or level > 20:
            return self.pick(corpus.PYTHON_VALUES)
        if isinstance(value, dict):
            return {key: self._replace_values(item, level + 1) for key, item in value.items()}
        if isinstance(value, list) and len(value) < 10:
            return [self._replace_values(item, level + 1) for item in value]
        return value

    def letter(self) -> bytes:
        """Draw a line of a file of dead letters, damaged or with another event in it."""
        if self.chance(0.5):
            text = self.line().decode(errors="replace")
            letter: dict[str, object] = {"event": text, "stage": self.pick(("import", "parse")), "reason": "rejected"}
            letter |= {"insert_id": self.pick(("id-1", "", "a b", "null")), "time_ms": self.pick(_LETTER_TIMES)}
            return json.dumps(letter).encode()
        line = self.pick(corpus.LETTERS)
        while self.chance(0.6):
            line = self._damage(line)
        return line

    def answer(self) -> tuple[int, dict[str, str], bytes, int]:
        """Draw a status, headers, a body and the size of the batch that it answers."""
        status = self.pick((200, 400)) if self.chance(0.5) else self.pick(corpus.STATUSES)
        if self.chance(0.05):
            status = int(self._random() * 1000)
        headers = {}
        if self.chance(0.3):
            headers["retry-after"] = self.pick(corpus.DATES)
            headers["date"] = self.pick(corpus.DATES)
        body = self.pick(corpus.ANSWERS)
        while self.chance(0.4):
            body = self._damage(body)
        return status, headers, body, self.pick((1, 2, 3, 2000))


_LETTER_TIMES: Final = (0, 1, NOW_MS, NOW_MS + 10**9, -1, 2**70)
_FIELDS: Final = (
    (b'"time":', corpus.TIMES, 0.95),
    (b'"$insert_id":', corpus.INSERT_IDS, 0.6),
    (b'"distinct_id":', corpus.IDS, 0.7),
    (b'"$user_id":', corpus.IDS, 0.1),
    (b'"$device_id":', corpus.IDS, 0.1),
)
_TOKENS: Final = (corpus.VALUES, corpus.VALUES, corpus.PIECES, corpus.KEYS, corpus.TIMES, corpus.IDS, corpus.NAMES)
