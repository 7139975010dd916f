"""Writes the metadata of the Flex templates from the pipelines' own options: `python -m templates.generate [--check]`.

Source of the format: https://cloud.google.com/dataflow/docs/reference/rest/v1b3/TemplateMetadata
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from beam_mixpanel.launcher.sources import all_sources
from beam_mixpanel.transforms.flags import Flag

FOLDER: Final = Path(__file__).parent


TEMPLATES: Final = {source.pipeline.rpartition(".")[2]: source for source in all_sources() if source.template}
"""The sources that have one, by the name of its file."""
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
    source = TEMPLATES[name]
    template = source.template
    if template is None:
        raise ValueError(f"{name} has no template")
    flags = [flag for group in source.all_flags for flag in group if flag.name not in NOT_IN_TEMPLATES]
    return {
        "name": template.title,
        "description": template.description,
        "streaming": source.is_stream,
        "supportsAtLeastOnce": source.is_stream,
        "supportsExactlyOnce": source.is_stream,
        "parameters": [_parameter(flag, required=flag.name in template.required) for flag in flags],
    }


def _parameter(flag: Flag, *, required: bool) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": flag.name,
        "label": flag.name.removeprefix("mixpanel_").replace("_", " ").capitalize(),
        "helpText": _help(flag),
        "isOptional": not required,
        "paramType": _type(flag),
    }
    if flag.name in _REGEXES:
        parameter["regexes"] = [_REGEXES[flag.name]]
    if flag.choices:
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in flag.choices]
    if flag.is_switch:
        parameter["defaultValue"] = "false"
    elif flag.default is not None:
        parameter["defaultValue"] = str(flag.default)
    return parameter


def _help(flag: Flag) -> str:
    if flag.name in REFERENCES:
        # The metadata accept no other kind of reference, so none is named.
        what = re.split("[;(,]", flag.meaning)[0].strip()
        return f"{what}: gcp-secret:projects/PROJECT/secrets/NAME/versions/VERSION"
    return flag.meaning + (_LIST_HINT if flag.repeated else "")


def _type(flag: Flag) -> str:
    if flag.is_switch:
        return "BOOLEAN"
    if flag.choices:
        return "ENUM"
    return "NUMBER" if flag.kind in (int, float) else "TEXT"


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
