"""What fuzzing starts from: pieces of JSON that lie at some boundary, and whole events, letters and answers."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from beam_mixpanel.core import limits
from fuzz.laws import NOW_MS

_AHEAD: Final = NOW_MS + limits.MAX_AHEAD_MS
_TRACK: Final = NOW_MS - limits.TRACK_MAX_AGE_MS
_EARLY: Final = limits.EARLIEST_TIME_MS


def _around(number: int) -> list[bytes]:
    return [b"%d" % (number + step) for step in (-1, 0, 1)]


GOOD_TIMES: Final = [b"%d" % (NOW_MS - step) for step in (0, 1, 86_400_000, 800 * 86_400_000)]
TIMES: Final = [
    *(text for number in (NOW_MS, _AHEAD, _TRACK, _EARLY, 10**10, 10**13, 10**16, 10**19) for text in _around(number)),
    *(text for number in (NOW_MS // 1000, _AHEAD // 1000, _EARLY // 1000, 2**31, 2**63) for text in _around(number)),
    *(b"%d" % (NOW_MS * scale) for scale in (1000, 10**6, 10**9, -1)),
    *(b"1700000000.0", b"1700000000.123", b"1700000000.1239999", b"1.7e9", b"1.7E12", b"1.7e+12", b"17e-1", b"1e400"),
    *(b'"%d"' % NOW_MS, b'"1700000000.5"', b'" 1700000000 "', b'"1_700_000_000"', b'"1.7e9"', b'"NaN"', b'"Infinity"'),
    *(b'"2023-11-14"', b'"2023-11-14T22:13:20Z"', b'"2023-11-14 22:13:20.123456789+05:30"', b'"2023-02-30"', b'""'),
    *(b'"0001-01-01T00:00:00+14:00"', b'"9999-12-31T23:59:59.999-14:00"', b'"2023-11-14T24:00:00"', b'"soon"', b"0"),
    *(b'"2023-11-14T22:13:20+99:00"', b'"2023-11-14T22:13:20 UTC"', b'"\\u0661700000000"', b"-1", b"null", b"true"),
]
IDS: Final = [
    *(b'"ann"', b'""', b'" "', b'"\xc3\xa9"', b"7", b"7.0", b"7.5", b"-0.0", b"-0", b"1e2", b"1e22", b"1E400", b"-1"),
    *(
        b"9007199254740993",
        b"9007199254740993.0",
        b"%d" % 2**70,
        b"1e-400",
        b"0.1e1",
        b"1e4000",
        b"0.0",
        b"-1.0",
        b"1e99999999",
        b"1e-99999999",
        b"1e99999999999999999999",
    ),
    *(b"null", b"true", b"false", b"[]", b"{}", b"[1]", b'{"a":1}', b'"\\u0000"', b'"\\ud83d\\ude00"', b'"\\ud83d"'),
    *(b'"%s"' % text.encode() for text in sorted(limits.PLACEHOLDER_IDS)),
    *(b'"%s"' % text.upper().encode() for text in sorted(limits.PLACEHOLDER_IDS)),
    *(b'"%s"' % (b"x" * count) for count in (35, 36, 37, 254, 255, 256)),
    *(b'"%s"' % ("\u00e9" * count).encode() for count in (36, 127, 128, 255, 256)),
]
GOOD_INSERT_IDS: Final = [b'"0123456789abcdef0123456789abcdef"', b'"A-b-9"', b'"%s"' % (b"x" * 36), b'"1-1"']
INSERT_IDS: Final = [
    *IDS,
    *(b'"a b"', b'"a_b"', b'"a.b"', b'"a\\n"', b'"a-b-\\u0061"', b'"\xd9\xa1"', b'"-"', b'"id-1"', b'"id-\\u0131"'),
]
NAMES: Final = [
    *(b'"e"', b'"Page View"', b'"Z\xc3\xbcrich"', b'""', b'" "', b'"\xe2\x80\x83"', b'"\\u0000"', b'"\\t"', b"null"),
    *(b'"$identify"', b'"$merge"', b'"$create_alias"', b"5", b"true", b"{}", b'"\xf0\x9f\x98\x80"', b'"\\ud83d"'),
    *(b'"%s"' % (letter * count) for letter in (b"n", b"\xc3\xa9", b"\\u00e9") for count in (254, 255, 256)),
    *(b'"\x1c"', b'"\\u001c"', b'"\\u0085"', b'"\xc2\xa0"'),
]


def _nest(levels: int, inner: bytes = b"1") -> bytes:
    for level in range(levels):
        inner = b"[%s]" % inner if level % 2 else b'{"k":%s}' % inner
    return inner


def _list(count: int, item: bytes = b"0") -> bytes:
    return b"[%s]" % b",".join([item] * count)


def _object(count: int) -> bytes:
    return b"{%s}" % b",".join(b'"k%d":0' % number for number in range(count))


VALUES: Final = [
    *(b"0", b"1", b"-1", b"-0", b"0.0", b"-0.0", b"1.5", b"1e5", b"1E-5", b"1e308", b"1e309", b"-1e400", b"1e-400"),
    *(b"0.1", b"0.30000000000000004", b"123456789012345.6", b"1234567890.12345678901234567890", b"null", b"true"),
    *(b"false", b'""', b'"text"', b"[]", b"{}", b"[[]]", b'[{"a":[1]}]', b"%d" % 2**53, b"%d" % 2**64, b"-%d" % 2**63),
    *(b"1" * count for count in (16, 20, 300, 400)),
    *(b"1.%s" % (b"3" * count) for count in (14, 15, 17, 40)),
    *(b"1e99999999999999999999", b"1e-99999999999999999999", b"-1e1000000", b"0e99999999999999999999"),
    *(_nest(levels) for levels in (1, 2, 3, 4, 5)),
    *(_nest(levels, b"[]") for levels in (2, 3, 4)),
    *(b'{"%s":1}' % (b"k" * count) for count in (255, 256)),
    *(b'"%s"' % (b"s" * count) for count in (255, 256)),
    *(b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\ude00\\ud83d"', b'"\\u0000"', b'"\\u2028"', b'"\xe2\x80\xa8"', b'"\x7f"'),
    *(b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\xbd"', b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x98\x80"', b'"\x00"', b'"\t"'),
    *(b'"[[[[[[[["', b'"{{{{{{"', b'"%s"' % (b"," * 300), b'"\\"\\\\\\/\\b"', b'"\\x"', b'"\\u12"', b'"\\u00E9"'),
    *(b"NaN", b"Infinity", b"-Infinity", b"nan", b"undefined", b"01", b"1.", b".5", b"+1", b"1e", b"0x1", b"'a'"),
    *(b"[1,]", b"[,1]", b'{"a":1,}', b"{a:1}", b'{"a" 1}', b"[1 2]", b'{"a":1,"a":2}', b"/**/1", b"tru", b'"open'),
]
BIG_VALUES: Final = [
    *(_list(count) for count in (253, 254, 255, 256)),
    *(_list(count, b'"a"') for count in (254, 255)),
    *(_object(count) for count in (253, 254, 255, 256)),
    *(b"[%s]" % _list(count) for count in (254, 255)),
    *(b"1" * count for count in (4299, 4300, 4301, 5000)),
    *(b'"%s"' % (b"s" * count) for count in (8192, 8193)),
    b"1.%s" % (b"3" * 5000), b'{"%s":1}' % (b"k" * 1000),
]  # fmt: skip
PIECES: Final = [
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800", b"\xef\xbb\xbf", b"\xff", b"\x00", b"\r"),
    *(b" ", b"\t", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xe2\x80\xa8", b"e", b".", b"-", b"9", b"null", b'":', b'","'),
    *(b"[" * 6, b"{" * 6, b"," * 300, b"9" * 320, b'"a":', b'"a":1,', b'\\"', b"}}", b"]]", b"1e999"),
]
KEYS: Final = [
    *(
        b'"a"',
        b'"plan"',
        b'""',
        b'"time"',
        b'"$insert_id"',
        b'"distinct_id"',
        b'"$user_id"',
        b'"$device_id"',
        b'"event"',
    ),
    *(
        b'"event_name"',
        b'"properties"',
        b'"token"',
        b'"ip"',
        b'"\\u0074ime"',
        b'"ti\\u006de"',
        b'"\xc3\xa9"',
        b'"\\ud800"',
    ),
    *(b'"%s"' % (b"k" * 256), b'"time "', b'"Time"', b'"$insert_id\\u0000"', b'"\\u0000"', b'"distinct_i\\u0064"'),
]
GOOD_EXTRAS: Final = [
    *(
        b'"plan":"free"',
        b'"price":12.5',
        b'"tags":["a","b"]',
        b'"city":"Z\xc3\xbcrich"',
        b'"nothing":null',
        b'"ok":true',
    ),
    *(b'"cart":[{"sku":"a","n":[1]}]', b'"big":%d' % 2**70, b'"deep":%s' % _nest(3)),
    *(b'"$user_id":"ann"', b'"$device_id":"dev"', b'"text":"[[[[[[,,,,,"', b'"quote":"\\"{"'),
]
LINES: Final = [
    b'{"event":"e","properties":{"time":%d,"$insert_id":"id-1","distinct_id":"ann"}}' % NOW_MS,
    b'{"properties":{"distinct_id":"ann","time":1700000000},"event":"e"}',
    b'{"event":"e","time":"2023-11-14T22:13:20Z","distinct_id":7,"plan":"free"}',
    b'{"event_name":"e","time":1700000000.5,"distinct_id":7.0,"nested":{"a":[1,2,{"b":null}]}}',
    b'{"event":"e","properties":{"time":%d},"plan":1,"distinct_id":"ann"}' % NOW_MS,
    b'{"event":"e","event_name":"f","properties":null,"time":%d}' % NOW_MS,
    b' {"event" : "e" , "properties" : {"time" : %d, "$insert_id":"id-1" } } \r' % NOW_MS,
    b'\xef\xbb\xbf{"event":"e","properties":{"time":%d,"$insert_id":"id-1"}}' % NOW_MS,
    *(
        b"",
        b" ",
        b"\r",
        b"null",
        b"1",
        b'"e"',
        b"[]",
        b"{}",
        b"[{}]",
        b'{"event":"e"}',
        b'{"properties":[]}',
        b"\xff\xfe",
    ),
    b'{"event":"$identify","properties":{"time":%d,"$insert_id":"id-1","$anon_id":"a"}}' % NOW_MS,
    "{}".encode("utf-16"),
]
HUGE: Final = [
    *(b'{"event":"e","properties":{"time":%d,"$insert_id":"i-1","x":"%s"}}' % (NOW_MS, b"x" * count)
      for count in range(limits.MAX_EVENT_BYTES - 72, limits.MAX_EVENT_BYTES - 60, 2)),
    *(b'{"event":"e","properties":{"time":%d,"x":"%s"}}' % (NOW_MS, b"x" * count)
      for count in range(limits.MAX_EVENT_BYTES - 105, limits.MAX_EVENT_BYTES - 40, 9)),
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 1000 + b"]" * 1000, b'{"event":' + b"[" * 990 + b"]" * 990 + b"}",
    b'{"event":"e","properties":{"time":%d,"a":%s}}' % (NOW_MS, b"[" * 1020 + b"]" * 1020),
    b'{"event":"e","properties":%s}' % _object(100_000), b'{"event":"e","properties":{"a":%s}}' % _list(100_000),
    b"9" * 100_000, b'"' + b"\\u00e9" * 100_000 + b'"', b"\\ud800" * 10_000, b" " * 100_000,
]  # fmt: skip
LETTERS: Final = [
    b'{"event":"{}","stage":"parse","reason":"invalid_json"}',
    b'{"event":"{\\"event\\":\\"e\\",\\"properties\\":{\\"time\\":1}}","stage":"import","reason":"rejected",'
    b'"insert_id":"id-1","time_ms":%d,"attempts":1,"http_status":400,"fate":"rejected","source":"f@7"}' % NOW_MS,
    b'{"event":"{\\"event\\":\\"e\\",\\"time\\":\\"2023-11-14\\"}","stage":"import","reason":"http_503",'
    b'"insert_id":"id-1","time_ms":%d,"fate":"undelivered"}' % NOW_MS,
    b'{"event_base64":"//8=","stage":"parse","reason":"not_utf8","field":null}',
]
ANSWERS: Final = [
    *(b"", b"1", b"0", b"1\n", b"null", b"[]", b"<html>502</html>", b"upstream connect error", b"\xff\xfe", b"{}"),
    b'{"code":200,"num_records_imported":3,"status":"OK"}',
    b'{"code":400,"error":"some data points in the request failed validation","status":"Bad Request",'
    b'"num_records_imported":2,"failed_records":[{"index":0,"insert_id":"i","field":"properties.time","message":"m"}]}',
    b'{"num_records_imported":1,"failed_records":[{"index":0},{"$insert_id":"i","index":2,"message":"x"}]}',
    b'{"num_records_imported":0,"failed_records":["identity events are not allowed"],"error":null}',
    b'{"error":null,"status":1}', b'{"error":"event, missing","status":0}', b'{"status":true}', b'{"status":"ok"}',
]  # fmt: skip
STATUSES: Final = (
    200,
    201,
    204,
    301,
    307,
    400,
    401,
    402,
    403,
    404,
    408,
    413,
    415,
    422,
    429,
    500,
    502,
    503,
    504,
    524,
    100,
)
DATES: Final = [
    *("Tue, 13 Jun 2023 15:08:00 GMT", "Tue, 13 Jun 2023 15:08:00 +9999", "Tue, 13 Jun 0001 15:08:00 GMT", "5", "0"),
    *("1e9", "-1", "999999999.5", "9999999999", " 7 ", "\u0661", "13 Jun 2023", "", "Tue, 13 Jun 99999 15:08:00 GMT"),
    *("Tue, 13 Jun 2023 15:08:00 -0000", "inf", "nan", "Tue, 31 Feb 2023 25:61:61 GMT", "0" * 5000),
]


class _Colour(Enum):
    RED = "red"
    ODD = float("nan")


class _Strange:
    """Says nothing that JSON knows."""

    def __repr__(self) -> str:
        return "_Strange()"


PYTHON_VALUES: Final[list[Any]] = [
    *(10**4300 - 1, 10**4300),
    *(10**5000, -(2**64), Decimal("1E+9999999"), Decimal("1E-9999999"), Decimal("0E+9999999"), Decimal("NaN123")),
    *(None, True, 0, -1, 2**70, 0.5, float("nan"), float("inf"), -0.0, 1e300, 2.0**60, 7.0, "text", "\ud800", "", "0"),
    *(Decimal("1.5"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1E+400"), Decimal("1E-400")),
    *(b"bytes", b"\xff", bytearray(b"a"), memoryview(b"a"), (1, 2), {1, 2}, frozenset({"a"}), range(3), 1j, object),
    *(date(2023, 11, 14), datetime(2023, 11, 14, 12), datetime(2023, 11, 14, 12, tzinfo=timezone(timedelta(hours=5)))),
    *(datetime.min, datetime.max, datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), timedelta(days=1)),
    *(UUID(int=1), UUID(int=0), _Colour.RED, _Colour.ODD, _Strange(), {1: 2}, {None: 1}, {"\ud800": 1}, {(1, 2): 3}),
    *(NOW_MS, NOW_MS / 1000, Decimal(NOW_MS) / 1000, str(NOW_MS), {"time": NOW_MS}, [[[[1]]]], [0] * 255, "x" * 256),
]  # fmt: skip
