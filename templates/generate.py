"""Writes the metadata of the Flex templates from the pipelines' own options: `python -m templates.generate [--check]`.

Source of the format: https://cloud.google.com/dataflow/docs/reference/rest/v1b3/TemplateMetadata
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from beam_mixpanel.launcher.parse import COMMON_OPTIONS
from beam_mixpanel.launcher.plain_flags import actions_of, is_list, is_switch

FOLDER: Final = Path(__file__).parent


class Template(NamedTuple):
    """What the metadata say of a pipeline, besides what its options say.

    Attributes:
      title: for the list of templates.
      description: what it does.
      required: those without which it does not start.
      streaming: whether it runs until it is stopped.
    """

    title: str
    description: str
    required: tuple[str, ...] = ()
    streaming: bool = False


TEMPLATES: Final = {
    "files_to_mixpanel": Template(
        "Files to Mixpanel",
        "Imports events from files (NDJSON, JSON, CSV, Avro, Parquet) into Mixpanel.",
        ("input",),
    ),
    "bigquery_to_mixpanel": Template(
        "BigQuery to Mixpanel",
        "Imports rows of a BigQuery table or query as events into Mixpanel.",
    ),
    "sql_to_mixpanel": Template(
        "SQL to Mixpanel",
        "Imports rows of a SQL database as events into Mixpanel.",
        ("connection",),
    ),
    "pubsub_to_mixpanel": Template(
        "Pub/Sub to Mixpanel",
        "Imports messages of Pub/Sub as events into Mixpanel, as they come.",
        ("dead_letters",),
        streaming=True,
    ),
    "replay_dead_letters": Template(
        "Mixpanel dead letters, again",
        "Sends dead letters of an earlier job to Mixpanel again.",
        ("input",),
    ),
}
NOT_IN_TEMPLATES: Final = {
    "mixpanel_emulator": "runs where the job is launched",
    "summary": "needs the books, and the launcher ends before the job",
    "allow_dead_letters": "as summary",
    "report": "as summary",
    "show_values": "needs a report",
    "state": "as summary",
    "overlap": "needs a state",
}
"""Options that a launcher refuses which does not wait for its job, and why."""
REFERENCES: Final = ("mixpanel_service_account", "mixpanel_project_token", "connection")
REFERENCE_REGEX: Final = r"^gcp-secret:projects/[^/\s]+/secrets/[^/\s]+/versions/[^/\s]+$"
_PLACE_REGEX: Final = r"^(\[\s*\")?gs://[^\n\r]+$"
_REGEXES: Final = {
    **dict.fromkeys(REFERENCES, REFERENCE_REGEX),
    "input": _PLACE_REGEX,
    "dead_letters": r"^gs://[^\n\r]+$",
    "mapping": r"^gs://[^\n\r]+$",
    "mixpanel_project_id": r"^[0-9]+$",
    "mixpanel_region": r"^(us|eu|in)$",
    "mixpanel_api_host": r"^https://[^\s]+$",
}
_LIST_HINT: Final = '; several as JSON: ["A","B"]'


def metadata_of(name: str) -> dict[str, Any]:
    """Describe a pipeline's template, as Google's `TemplateMetadata` has it."""
    template = TEMPLATES[name]
    groups = (*importlib.import_module(f"beam_mixpanel.pipelines.{name}").SOURCE.groups, *COMMON_OPTIONS)
    actions = [action for group in groups for action in actions_of(group) if action.dest not in NOT_IN_TEMPLATES]
    return {
        "name": template.title,
        "description": template.description,
        "streaming": template.streaming,
        "supportsAtLeastOnce": template.streaming,
        "supportsExactlyOnce": template.streaming,
        "parameters": [_parameter(action, required=action.dest in template.required) for action in actions],
    }


def _parameter(action: argparse.Action, *, required: bool) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": action.dest,
        "label": action.dest.removeprefix("mixpanel_").replace("_", " ").capitalize(),
        "helpText": _help(action),
        "isOptional": not required,
        "paramType": _type(action),
    }
    if action.dest in _REGEXES:
        parameter["regexes"] = [_REGEXES[action.dest]]
    if action.choices:
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in action.choices]
    if is_switch(action):
        parameter["defaultValue"] = "false"
    elif action.default is not None:
        parameter["defaultValue"] = str(action.default)
    return parameter


def _help(action: argparse.Action) -> str:
    text = str(action.help) % vars(action)
    if action.dest in REFERENCES:
        return f"{text.partition(':')[0]}: gcp-secret:projects/PROJECT/secrets/NAME/versions/VERSION"
    return text.replace("; may be given several times", "") + (_LIST_HINT if is_list(action) else "")


def _type(action: argparse.Action) -> str:
    if is_switch(action):
        return "BOOLEAN"
    if action.choices:
        return "ENUM"
    return "NUMBER" if action.type in (int, float) else "TEXT"


def text_of(name: str) -> str:
    """Write a template's metadata as its file holds them."""
    return json.dumps(metadata_of(name), indent=2, ensure_ascii=False) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write all files; or with `--check` tell by the exit code whether they are as they would be written."""
    parser = argparse.ArgumentParser(prog="python -m templates.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    check = parser.parse_args(argv).check
    files = {FOLDER / f"{name}.json": text_of(name) for name in TEMPLATES}
    stale = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        print(f"{file.name} {'is not what the options say' if check else 'written'}", file=sys.stderr)
        if not check:
            file.write_text(files[file])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
