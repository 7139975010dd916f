"""A mapping from a YAML file, from flags, or from both: the keys are the arguments of `EventMapping`, and `preset`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import yaml

from beam_mixpanel.core.arguments import wrong_type
from beam_mixpanel.core.json.text import UNREADABLE
from beam_mixpanel.core.rows.mapping import KEYS, EventMapping
from beam_mixpanel.core.rows.presets import PRESETS
from beam_mixpanel.errors import MappingError

FLAGS: Final[dict[str, str]] = {
    key: {
        "tags": "tag",
        "json_columns": "json_column",
        "spread_columns": "spread_column",
        "only_events": "only_event",
        "skip_events": "skip_event",
    }.get(key, key)
    for key in ("preset", *KEYS)
}
"""For each key the flag, without its dashes; flags that may be given several times are singular."""


def mapping_of(settings: Mapping[str, Any]) -> EventMapping:
    """Make a mapping of the keys of a file or of flags; a key that is given takes the place of the preset's.

    Raises:
      MappingError: a key or a value is wrong; says what is right.
      TypeError: they are no dict.
    """
    if not isinstance(settings, Mapping):
        raise wrong_type("settings", "a dict with the keys of a mapping file", settings)
    rest = dict(settings)
    name = rest.pop("preset", None)
    if name is None:
        return EventMapping.from_dict(rest)
    if name not in PRESETS:
        raise MappingError(f"unknown preset {name!r}; use one of {', '.join(PRESETS)}")
    return PRESETS[name].mapping.replaced(rest)


def settings_from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read the values of flags; an empty one, as templates of job schedulers give it, is as if it were absent.

    Args:
      flags: by the names in `FLAGS`; absent or None where the flag was not given.

    Raises:
      MappingError: a pair has no `=`.
    """
    given = {key: _without_empty(flags.get(flag)) for key, flag in FLAGS.items()}
    settings = {key: value for key, value in given.items() if value}
    if "insert_id_columns" in settings:
        names = settings["insert_id_columns"].split(",")
        settings["insert_id_columns"] = [name.strip() for name in names if name.strip()]
    if "rename" in settings:
        settings["rename"] = _pairs("rename", "OLD=NEW", settings["rename"])
    if "tags" in settings:
        pairs = _pairs("tag", "NAME=VALUE", settings["tags"])
        settings["tags"] = {name: _scalar(text) for name, text in pairs.items()}
    return settings


def settings_from_yaml(text: str | bytes, name: str) -> dict[str, Any]:
    """Read a mapping file.

    Values are read as in JSON: `no`, `01234` and `2024-01-01` are text, `5` and `true` are not.

    Args:
      text: of the file.
      name: of the file, for errors.

    Raises:
      MappingError: it is no YAML, or not a mapping.
    """
    try:
        settings = yaml.load(text, _JsonLikeLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MappingError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise MappingError(f"{name} must hold keys and values, such as 'time_column: created_at'")
    return settings


def _without_empty(value: Any) -> Any:
    if isinstance(value, list):
        return [text for text in value if text]
    return value


def _pairs(flag: str, form: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise MappingError(f"--{flag} must be {form}, got {text!r}")
        if name in pairs:
            raise MappingError(f"--{flag} {name} is given twice")
        pairs[name] = value
    return pairs


def _scalar(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return text


class _JsonLikeLoader(yaml.SafeLoader):
    """Reads plain scalars as JSON does, and refuses a key that is given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - Beam's own YAML must keep its resolvers

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Make a dict of a mapping's node."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9]\d*)", list("-0123456789")),
    ("float", r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", list("-0123456789")),
):
    _JsonLikeLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
