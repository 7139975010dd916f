"""Mappings: which column becomes what, from Python, YAML and flags alike, and what a row becomes."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from beam_mixpanel.core.events.validation import Violation
from beam_mixpanel.core.rows.mapping import KEYS, EventMapping, Filtered, Unmappable, map_row, matches
from beam_mixpanel.core.rows.mapping_settings import FLAGS, mapping_of, settings_from_flags, settings_from_yaml
from beam_mixpanel.errors import MappingError

TIME_MS = 1_700_000_000_123
ROW = {"event": "A", "time": TIME_MS, "plan": "pro", "n": 1}


def mapped(row: dict[str, Any], zone: Any = timezone.utc, **mapping: Any) -> Any:
    plan = EventMapping(**mapping).bind(list(row), zone=zone)
    return map_row(plan, row, zone)


def properties(row: dict[str, Any], **mapping: Any) -> dict[str, Any]:
    event = mapped(row, **mapping)
    assert isinstance(event, dict), event
    found: dict[str, Any] = event["properties"]
    return {name: value for name, value in found.items() if name != "time"}


SETTINGS: dict[str, tuple[Any, str, list[str]]] = {
    "event": ("Order", "event: Order", ["--event=Order"]),
    "event_column": ("name", "event_column: name", ["--event_column=name"]),
    "time_column": ("at", "time_column: at", ["--time_column=at"]),
    "time_unit": ("us", "time_unit: us", ["--time_unit=us"]),
    "time_format": ("%d.%m.%Y", "time_format: '%d.%m.%Y'", ["--time_format=%d.%m.%Y"]),
    "distinct_id_column": ("who", "distinct_id_column: who", ["--distinct_id_column=who"]),
    "user_id_column": ("who", "user_id_column: who", ["--user_id_column=who"]),
    "device_id_column": ("phone", "device_id_column: phone", ["--device_id_column=phone"]),
    "insert_id_columns": (("a", "b"), "insert_id_columns: [a, b]", ["--insert_id_columns=a, b"]),
    "include": (("a", "b*"), "include: [a, b*]", ["--include=a", "--include=b*"]),
    "exclude": (("a,b",), "exclude: 'a,b'", ["--exclude=a,b"]),
    "rename": ({"a": "A=1"}, "rename: {a: A=1}", ["--rename=a=A=1"]),
    "tags": (
        {"n": 5, "zip": "01234", "no": "no", "t": True, "f": 1.5, "d": "2024-01-01", "o": {"a": [1]}},
        "tags: {n: 5, zip: 01234, no: no, t: true, f: 1.5, d: 2024-01-01, o: {a: [1]}}",
        ["--tag=n=5", "--tag=zip=01234", "--tag=no=no", "--tag=t=true", "--tag=f=1.5", "--tag=d=2024-01-01",
         '--tag=o={"a": [1]}'],
    ),
    "json_columns": (("a",), "json_columns: [a]", ["--json_column=a"]),
    "spread_columns": (("a", "b"), "spread_columns: [a, b]", ["--spread_column=a", "--spread_column=b"]),
    "flatten": (True, "flatten: true", ["--flatten"]),
    "keep_nulls": (True, "keep_nulls: true", ["--keep_nulls"]),
    "only_events": (("A", "B*"), "only_events: [A, B*]", ["--only_event=A", "--only_event=B*"]),
    "skip_events": (("A",), "skip_events: A", ["--skip_event=A"]),
    "from_time": ("2024-01-01", "from_time: 2024-01-01", ["--from_time=2024-01-01"]),
    "until_time": (1700000000, "until_time: 1700000000", ["--until_time=1700000000"]),
    "map": ("json:dumps", "map: json:dumps", ["--map=json:dumps"]),
}  # fmt: skip
"""For each key the same value in Python, in YAML and as flags."""


def parsed(flags: list[str]) -> dict[str, Any]:
    from beam_mixpanel.launcher.options import MappingOptions  # Beam; this test alone needs it

    options = MappingOptions(flags)
    return settings_from_flags({flag: getattr(options, flag) for flag in FLAGS.values()})


@pytest.mark.parametrize("key", KEYS)
def test_python_yaml_and_flags_say_the_same(key: str) -> None:
    """Each key has the same effect in all three, and one that is not the default's."""
    value, text, flags = SETTINGS[key]
    in_python = EventMapping(**{key: value})
    assert in_python != EventMapping()
    assert mapping_of(settings_from_yaml(text, "f")) == in_python
    assert mapping_of(parsed(flags)) == in_python


def test_all_keys_together_say_the_same() -> None:
    """Keys that fit together give equal mappings from all three."""
    keys = [key for key in KEYS if key not in ("event_column", "time_format", "map", "from_time")]
    in_python = EventMapping(**{key: SETTINGS[key][0] for key in keys})
    text = "\n".join(SETTINGS[key][1] for key in keys)
    flags = [flag for key in keys for flag in SETTINGS[key][2]]
    assert mapping_of(settings_from_yaml(text, "f")) == mapping_of(parsed(flags)) == in_python


def test_presets_can_be_named_in_all_three() -> None:
    """A preset is a key like others; what stands beside it takes the place of its own."""
    settings = {"preset": "posthog", "tags": {"source": "x"}}
    mapping = mapping_of(settings)
    assert (mapping.insert_id_columns, mapping.tags) == (("uuid",), {"source": "x"})
    assert mapping_of(settings_from_yaml("preset: posthog\ntags: {source: x}", "f")) == mapping
    assert mapping_of(parsed(["--preset=posthog", "--tag=source=x"])) == mapping


def test_dates_may_be_dates() -> None:
    """Bounds given as dates or moments equal the text that they stand for."""
    assert EventMapping(from_time=date(2024, 1, 1)) == EventMapping(from_time="2024-01-01")
    moment = datetime(2024, 1, 1, 5, tzinfo=timezone(timedelta(hours=1)))
    assert EventMapping(from_time=moment).from_time == "2024-01-01T05:00:00+01:00"


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"evnt": "A"}, "did you mean event"),
        ({"event": 5}, "put it in quotes"),
        ({"event": " "}, "must be a text"),
        ({"time_unit": "min"}, "one of auto, s, ms, us, ns"),
        ({"time_format": "%Q"}, "no format of strptime"),
        ({"time_format": "%d %b %H:%M"}, "has no year"),
        ({"time_format": "%H:%M"}, "has no year"),
        ({"include": {"a": 1}}, "list of texts"),
        ({"include": [1]}, "put it in quotes"),
        ({"rename": ["a"]}, "{old: new}"),
        ({"tags": "a"}, "must map"),
        ({"tags": {"a": None}}, "must have values"),
        ({"tags": {"a": object()}}, "no JSON form"),
        ({"flatten": "yes"}, "true or false"),
        ({"from_time": "soon"}, "ISO 8601"),
        ({"from_time": True}, "ISO 8601"),
        ({"from_time": "2024-01-02", "until_time": "2024-01-02"}, "before until_time"),
        ({"event": "A", "event_column": "b"}, "not both"),
        ({"time_unit": "s", "time_format": "%Y"}, "not both"),
        ({"map": "no_function"}, "module:function"),
        ({"map": "a:b", "flatten": True}, "takes the place of flatten"),
        ({"preset": "ga5"}, "use one of amplitude, ga4"),
        ({"preset": "ga4", "event_column": "x"}, "takes the place of event_column"),
    ],
)
def test_wrong_values_are_refused_with_the_cure(settings: dict[str, Any], cure: str) -> None:
    """A mapping that cannot be meant is refused before anything is read."""
    with pytest.raises(MappingError, match=cure):
        mapping_of(settings)


@pytest.mark.parametrize(
    ("text", "cure"), [("a: 1\na: 2", "given twice"), ("[a]", "keys and values"), ("a: [", "YAML")]
)
def test_a_mapping_file_that_is_none_is_refused(text: str, cure: str) -> None:
    """Broken YAML, another shape, and a key that stands twice are told with the file's name."""
    with pytest.raises(MappingError, match=cure) as refused:
        settings_from_yaml(text, "m.yaml")
    assert "m.yaml" in str(refused.value)
    assert settings_from_yaml("# nothing", "m.yaml") == {}


@pytest.mark.parametrize("flag", ["--rename=a", "--rename==b", "--rename=a=", "--tag=x"])
def test_pairs_need_both_sides(flag: str) -> None:
    """`--rename` and `--tag` without name or value are refused, and so is a name that is given twice."""
    with pytest.raises(MappingError, match="must be"):
        parsed([flag])
    with pytest.raises(MappingError, match="twice"):
        parsed(["--tag=a=1", "--tag=a=2"])


_YAML_TEXT = st.text("ab:#- '\"{}[]\\né0.", max_size=6)
_FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(_YAML_TEXT, st.one_of(_YAML_TEXT, st.integers(), st.booleans(), _FINITE)))
def test_yaml_written_by_others_is_read_as_meant(values: dict[str, Any]) -> None:
    """What a YAML library writes with quotes where they are needed comes back with its types."""
    text = yaml.safe_dump(values, default_flow_style=False, allow_unicode=True)
    assert settings_from_yaml(text, "f") == values


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (["event", "time", "distinct_id"], "event from event; time from time; distinct_id from distinct_id"),
        (
            ["event_name", "timestamp", "$user_id"],
            "event_name; time from timestamp; distinct_id from $user_id; $user_id",
        ),
        (["EVENT NAME", "Created At", "userId"], "EVENT NAME; time from Created At; distinct_id from userId"),
        (["name", "ts", "anonymous_id", "insert_id"], "$device_id from anonymous_id; $insert_id from insert_id"),
        (["event", "event_name", "time"], "event from event; time from time; $insert_id made from the content"),
    ],
)
def test_columns_are_found_by_common_names(columns: list[str], chosen: str) -> None:
    """Without a word of the user, columns are told by name, and the choice can be read."""
    assert chosen in EventMapping().bind(columns).describe()


@pytest.mark.parametrize(
    ("mapping", "columns", "says"),
    [
        ({"time_column": "tme"}, ["event", "time"], "no column 'tme'; did you mean time? The columns are: event, time"),
        ({"include": ("plan",)}, ["event", "time"], "no column 'plan'. The columns are: event, time"),
        ({"exclude": ("emial",)}, ["event", "time", "email"], "did you mean email"),
        ({"rename": {"x": "y"}}, ["event", "time"], "no column 'x'"),
        ({"insert_id_columns": ("id",)}, ["event", "time"], "no column 'id'"),
        ({"spread_columns": ("p",)}, ["event", "time"], "no column 'p'"),
        ({"rename": {"p.x": "y"}}, ["event", "time", "p"], "no column 'p.x'"),
        ({}, ["time", "x"], "or `event_column` COLUMN. The columns are: time, x"),
        ({"event": "A"}, ["x"], "give `time_column` COLUMN. The columns are: x"),
        ({"event": "A"}, ["event;at;x"], "If these are several, they need `csv.delimiter` ';'"),
        ({"event": "A"}, [], "There are no columns"),
        ({"time_column": "at"}, ["event", "time", "at"], "both be the property time; exclude or rename"),
        ({"distinct_id_column": "who"}, ["event", "time", "who", "distinct_id"], "both be the property distinct_id"),
        ({"rename": {"a": "b"}}, ["event", "time", "a", "b"], "both be the property b"),
        ({"tags": {"a": 1}}, ["event", "time", "a"], "both be the property a"),
        ({"insert_id_columns": ("k",)}, ["event", "time", "k", "$insert_id"], "both be the property $insert_id"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused(mapping: dict[str, Any], columns: list[str], says: str) -> None:
    """A column that is not there, none for a part, two values for one property: told with the columns there are."""
    with pytest.raises(MappingError) as refused:
        EventMapping(**mapping).bind(columns)
    assert says in str(refused.value)


def test_many_columns_are_not_all_listed() -> None:
    """The error stays readable for a table of a thousand columns."""
    with pytest.raises(MappingError, match="c39 and 960 more"):
        EventMapping(event="A", time_column="x").bind([f"c{number}" for number in range(1000)])


_COLUMNS = st.lists(st.text("abc.*[", min_size=1, max_size=4), unique=True, max_size=8).filter(
    lambda columns: not {"a.b"} & set(columns)
)
_PATTERNS = st.lists(st.text("abc*", min_size=1, max_size=4).map(lambda text: f"{text}*"), max_size=3).map(tuple)


@given(_COLUMNS, _PATTERNS, _PATTERNS)
def test_laws_of_include_and_exclude(columns: list[str], include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    """A column is a property if a pattern includes it and none excludes it; order is kept; nothing else appears."""
    columns = [*columns, "event", "time"]
    plan = EventMapping(include=include, exclude=exclude, event_column="event", time_column="time").bind(columns)
    names = [name for name, _ in plan.properties]
    expected = [
        column
        for column in columns[:-2]
        if any(fnmatchcase(column, pattern) for pattern in include)
        and not any(fnmatchcase(column, pattern) for pattern in exclude)
    ]
    assert names == expected == [column for _, column in plan.properties]


@given(st.permutations(["a", "b", "c"]), st.sampled_from(["x", "a", "b"]))
def test_laws_of_rename(columns: list[str], target: str) -> None:
    """A renamed column is one property under its new name, unless that name is taken."""
    bound = [*columns, "event", "time"]
    mapping = EventMapping(rename={"a": target})
    if target == "b":
        with pytest.raises(MappingError):
            mapping.bind(bound)
    else:
        names = {column: name for name, column in mapping.bind(bound).properties}
        assert names == {"a": target, "b": "b", "c": "c"}


@pytest.mark.parametrize("name", ["[Amplitude] Start", "a?b", "a.b", "", "new\nline"])
def test_only_the_asterisk_is_special(name: str) -> None:
    """Brackets, question marks and dots in names mean themselves."""
    assert matches(name, (name,))
    assert matches(name, ("*",))
    assert matches(f"x{name}y", (f"x{name}*",))
    assert not matches("Az", ("[A]*",))
    assert not matches("axb", ("a?b", "a.b"))


def test_a_row_becomes_an_event() -> None:
    """Parts go to their places, the rest are properties, tags are added."""
    row = {"Action": "Buy", "ts": TIME_MS, "uid": 7, "phone": "d", "order": "o-1", "sum": Decimal("1.50"), "skip": 1}
    event = mapped(
        row,
        event_column="Action",
        user_id_column="uid",
        device_id_column="phone",
        insert_id_columns=("order",),
        exclude=("skip",),
        rename={"sum": "Sum"},
        tags={"source": "shop"},
    )
    assert event == {
        "event": "Buy",
        "properties": {
            "Sum": Decimal("1.50"),
            "source": "shop",
            "distinct_id": 7,
            "$user_id": 7,
            "$device_id": "d",
            "$insert_id": "o-1",
            "time": TIME_MS,
        },
    }


def test_a_part_is_a_property_too_where_it_is_named() -> None:
    """Only a full name in `include` makes a property of a column that serves as a part."""
    row = {**ROW, "uid": "u"}
    assert "uid" not in properties(row, user_id_column="uid")
    assert properties(row, user_id_column="uid", include=("uid", "*"))["uid"] == "u"


def test_an_excluded_column_is_not_found_by_its_name() -> None:
    """What the user leaves out serves as no part, either."""
    assert "distinct_id" not in properties({**ROW, "user_id": "u"}, exclude=("user_*",))


@pytest.mark.parametrize("null", [None, float("nan"), Decimal("nan")])
def test_nulls_are_dropped_or_kept(null: Any) -> None:
    """What is null in JSON is no property, unless nulls are kept; empty text, 0 and false are values."""
    row = {**ROW, "a": null, "b": "", "c": 0, "d": False, "e": []}
    assert properties(row) == {"plan": "pro", "n": 1, "b": "", "c": 0, "d": False, "e": []}
    assert set(properties(row, keep_nulls=True)) == {"plan", "n", "a", "b", "c", "d", "e"}
    assert set(properties(row, keep_nulls=True, flatten=True)) == {"plan", "n", "a", "b", "c", "d", "e"}


@pytest.mark.parametrize("given_name", [404, Decimal(404), 404.0])
def test_numbers_are_event_names(given_name: Any) -> None:
    """A code in the column of names is its digits; nothing else is made up."""
    assert mapped({**ROW, "event": given_name})["event"] == "404"
    for other in (None, True, ["A"], float("nan"), Decimal("inf")):
        assert mapped({**ROW, "event": other})["event"] == ""


def test_several_insert_id_columns_are_hashed_and_stay() -> None:
    """The id depends on each of them and on nothing else; they stay properties."""
    row = {**ROW, "order": 1, "line": 2}
    first = properties(row, insert_id_columns=("order", "line"))
    assert (first["order"], first["line"], len(first["$insert_id"])) == (1, 2, 32)
    assert properties({**row, "n": 9}, insert_id_columns=("order", "line"))["$insert_id"] == first["$insert_id"]
    assert properties({**row, "line": 3}, insert_id_columns=("order", "line"))["$insert_id"] != first["$insert_id"]


@pytest.mark.parametrize("columns", [("order",), ("order", "line")])
def test_a_null_among_named_insert_id_columns_is_a_violation(columns: tuple[str, ...]) -> None:
    """Rows whose id is unknown are not sent under a made one."""
    row = {**ROW, "order": None, "line": 2}
    assert mapped(row, insert_id_columns=columns) == Violation("insert_id_column_missing", ",".join(columns))


def test_a_null_in_a_found_insert_id_column_is_an_absent_id() -> None:
    """A column that only its name makes the id leaves such rows to the ids that are made from content."""
    assert "$insert_id" not in properties({**ROW, "insert_id": None})
    assert properties({**ROW, "insert_id": "x"})["$insert_id"] == "x"


@pytest.mark.parametrize(
    ("value", "mapping", "time_ms"),
    [
        (1_700_000_000, {"time_unit": "s"}, 1_700_000_000_000),
        ("1700000000.5", {"time_unit": "s"}, 1_700_000_000_500),
        (1_700_000_000_123_999, {"time_unit": "us"}, 1_700_000_000_123),
        (Decimal("1700000000123999999"), {"time_unit": "ns"}, 1_700_000_000_123),
        (40_000_000_000, {"time_unit": "ms"}, 40_000_000_000),
        ("2023-11-14T22:13:20Z", {"time_unit": "us"}, 1_700_000_000_000),
        ("14/11/2023 22:13", {"time_format": "%d/%m/%Y %H:%M"}, 1_699_999_980_000),
        ("14/11/2023 22:13 +0200", {"time_format": "%d/%m/%Y %H:%M %z"}, 1_699_992_780_000),
        (datetime(2023, 11, 14, 22, 13), {"time_format": "%d/%m/%Y"}, 1_699_999_980_000),
    ],
)
def test_times_of_a_stated_unit_or_format(value: Any, mapping: dict[str, Any], time_ms: int) -> None:
    """Numbers are of the unit and text of the format that the user states, whatever their size."""
    assert mapped({**ROW, "time": value}, **mapping)["properties"]["time"] == time_ms


@pytest.mark.parametrize(
    ("value", "mapping", "problem"),
    [
        ("soon", {"time_unit": "s"}, "time_unreadable"),
        (True, {"time_unit": "s"}, "time_unreadable"),
        (float("inf"), {"time_unit": "s"}, "time_unreadable"),
        (Decimal("1e9999999"), {"time_unit": "s"}, "time_unreadable"),
        (Decimal("nan"), {"time_unit": "s"}, "time_unreadable"),
        ("2023-11-14", {"time_format": "%d/%m/%Y"}, "time_unreadable"),
        (1_700_000_000, {"time_unit": "ms"}, "time_before_1971"),
        (1_700_000_000_000_000, {"time_unit": "ms"}, "time_in_future"),
        (1_700_000_000_000, {"time_unit": "s"}, "time_in_future"),
    ],
)
def test_times_against_the_stated_unit_are_refused(value: Any, mapping: dict[str, Any], problem: str) -> None:
    """A wrong unit is told, never mended by a guess."""
    result = mapped({**ROW, "time": value}, **mapping)
    assert isinstance(result, (Unmappable, Violation))
    assert result[0] == problem
    assert mapped({**ROW, "time": None}, **mapping)["properties"]["time"] is None


def test_zones_of_formats_and_bounds() -> None:
    """Clock times that name no zone are in the user's, in columns and in bounds alike."""
    paris = ZoneInfo("Europe/Paris")
    row = {**ROW, "time": "01/01/2024"}
    event = mapped(row, paris, time_format="%d/%m/%Y", from_time="2024-01-01")
    assert event["properties"]["time"] == 1_704_063_600_000
    assert mapped({**ROW, "time": 1_704_063_599_999}, paris, from_time="2024-01-01") is Filtered.BY_TIME


def test_names_and_times_filter() -> None:
    """First names, then the window [from, until); what is no time is kept, to be explained."""
    assert mapped(ROW, only_events=("B*",)) is Filtered.BY_NAME
    assert mapped(ROW, only_events=("*",), skip_events=("A",)) is Filtered.BY_NAME
    assert isinstance(mapped(ROW, only_events=("A*",)), dict)
    assert mapped(ROW, until_time=TIME_MS) is Filtered.BY_TIME
    assert mapped(ROW, from_time=TIME_MS + 1) is Filtered.BY_TIME
    assert mapped(ROW, from_time=TIME_MS, until_time=TIME_MS + 1)["properties"]["time"] == TIME_MS
    assert mapped({**ROW, "time": "soon"}, from_time=TIME_MS)["properties"]["time"] == "soon"
    assert mapped({**ROW, "time": 5}, time_unit="ms", from_time=TIME_MS) is Filtered.BY_TIME


def test_json_columns_are_parsed() -> None:
    """Text becomes what it says, with all digits; empty text is null; an object passes."""
    row = {**ROW, "j": '{"id": 12345678901234567890123, "x": 1.1000000000000000001}'}
    assert properties(row, json_columns=("j",))["j"] == {
        "id": 12345678901234567890123,
        "x": Decimal("1.1000000000000000001"),
    }
    assert "j" not in properties({**ROW, "j": " "}, json_columns=("j",))
    assert properties({**ROW, "j": {"a": 1}}, json_columns=("j",))["j"] == {"a": 1}
    result = mapped({**ROW, "j": "{secret"}, json_columns=("j",))
    assert result[:2] == ("json_column_invalid", "j")
    assert "secret" not in result.message


def test_spread_columns_give_properties() -> None:
    """Keys become properties; one whose name is taken keeps its column's, unless it says the same."""
    row = {**ROW, "p": '{"a": 1, "b": null, "plan": "free", "n": 1, "time": 5, "$insert_id": "z"}', "q": {"a": 2}}
    assert properties(row, spread_columns=("p", "q")) == {
        "plan": "pro", "n": 1, "a": 1, "p.plan": "free", "p.time": 5, "p.$insert_id": "z", "q.a": 2,
    }  # fmt: skip
    assert properties({**ROW, "p": None}, spread_columns=("p",)) == {"plan": "pro", "n": 1}
    assert mapped({**ROW, "p": [1]}, spread_columns=("p",))[:2] == ("spread_column_not_object", "p")


def test_nested_keys_are_named_by_their_path() -> None:
    """`COLUMN.KEY` excludes and renames a key of a spread or flattened column."""
    row = {**ROW, "p": {"a": 1, "b": {"c": 2, "d": 3}}}
    options: dict[str, Any] = {"exclude": ("p.b.d", "plan", "n"), "rename": {"p.a": "First"}}
    assert properties(row, spread_columns=("p",), flatten=True, **options) == {"First": 1, "b.c": 2}
    assert properties(row, flatten=True, **options) == {"First": 1, "p.b.c": 2}


def test_records_are_flattened_or_kept() -> None:
    """Nested records become `parent.child`, lists stay; without the option nothing changes."""
    row = {**ROW, "p": {"a": {"b": [{"c": 1}], "x": None}, "e": {}}}
    assert properties(row)["p"] == row["p"]
    assert properties(row, flatten=True) == {"plan": "pro", "n": 1, "p.a.b": [{"c": 1}]}
    endless: dict[str, Any] = {}
    endless["a"] = endless
    assert mapped({**ROW, "p": endless}, flatten=True)[:2] == ("nested_too_deep", "p")


def test_rows_with_other_keys_take_absent_columns_for_null() -> None:
    """Rows of JSON, each with its own keys, are mapped without the columns that they lack."""
    mapping = EventMapping(event_column="name", time_column="at", rename={"a": "A"}, user_id_column="uid")
    plan = mapping.bind(["name", "b"], complete=False)
    assert map_row(plan, {"name": "A", "b": 1}, timezone.utc) == {"event": "A", "properties": {"b": 1, "time": None}}


@given(st.dictionaries(st.text("abcd", min_size=1, max_size=2), st.integers() | st.none() | st.text(), max_size=6))
def test_no_value_is_lost_or_made_up(values: dict[str, Any]) -> None:
    """Without options, an event's properties are the row's columns that are not null, and the time."""
    row = {"event": "A", "time": TIME_MS, **values}
    assert properties(row) == {name: value for name, value in values.items() if value is not None}


def test_the_columns_that_are_read_are_known() -> None:
    """A source can leave out columns that the plan does not name."""
    plan = EventMapping(include=("a*",), insert_id_columns=("k", "l"), event="E").bind(
        ["ts", "a1", "b", "k", "l", "uid"]
    )
    assert set(plan.columns) == {"ts", "a1", "k", "l"}


@pytest.mark.parametrize("column", ["j", "x"])
def test_values_that_nest_too_deep_are_told(column: str) -> None:
    """Depth without end ends in the row's own dead letter."""
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert mapped({**ROW, column: deep}, flatten=True)[:2] == ("nested_too_deep", column)


def test_values_without_json_form_are_left_to_the_check() -> None:
    """They are no nulls; an id made of them is unknown, and so is a key that is one."""
    row = {**ROW, "x": 1j}
    assert properties(row)["x"] == 1j
    assert mapped(row, insert_id_columns=("x", "n")) == Violation("insert_id_column_missing", "x,n")
    assert mapped({**ROW, "p": {1j: 1}}, spread_columns=("p",))[:2] == ("key_not_text", "p")


def test_a_value_is_never_hidden_by_another() -> None:
    """Where even the path of a nested key is another column's name, the row is refused."""
    row = {**ROW, "p": {"plan": 1}, "p.plan": 2}
    assert mapped(row, spread_columns=("p",))[:2] == ("property_twice", "properties.p.plan")


def test_names_that_are_kinds_of_text_are_text() -> None:
    """Subclasses of str give plain text."""

    class Name(str):
        __slots__ = ()

    assert type(mapped({**ROW, "event": Name("A")})["event"]) is str


def test_unnamed_columns_are_refused() -> None:
    """Names that are no text cannot be meant by any key."""
    with pytest.raises(MappingError, match="must be text"):
        EventMapping().bind([5])  # type: ignore[list-item]
    with pytest.raises(MappingError, match="must be a text"):
        EventMapping(rename={"a": ""})
    with pytest.raises(MappingError, match="module:function"):
        EventMapping(map=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("event", "user", "createdOn", "Amount"), "`time_column` COLUMN, perhaps createdOn."),
        (("event", "Datum", "Kunde", "updated-at"), "`time_column` COLUMN, perhaps Datum, updated-at."),
        (("event", "category", "status"), "`time_column` COLUMN. The"),
        (("time", "User Action", "sum"), "`event_column` COLUMN, perhaps User Action."),
    ],
)
def test_columns_that_may_be_meant_are_proposed(columns: tuple[str, ...], said: str) -> None:
    """By a word in their names; none is taken by a guess."""
    with pytest.raises(MappingError) as refused:
        EventMapping().bind(columns)
    assert said in str(refused.value)
