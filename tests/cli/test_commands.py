"""The command `beam-mixpanel`, as people type it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mmh3
import pytest
from click.testing import CliRunner, Result

from beam_mixpanel.cli.__main__ import main
from beam_mixpanel.cli.completion import complete
from beam_mixpanel.cli.doctor import ask
from beam_mixpanel.client.credentials import REGION_HOSTS, ProjectToken
from beam_mixpanel.client.transport import Answer
from beam_mixpanel.core.events.dead_letter import DeadLetter, to_json_line
from beam_mixpanel.core.rows.presets import PRESETS
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.emulator.__main__ import main as run_emulator
from beam_mixpanel.errors import NoAnswerError, UsageError
from beam_mixpanel.launcher.help import full_help
from beam_mixpanel.launcher.options import options_of
from beam_mixpanel.launcher.parse import COMMON_OPTIONS, parse_options
from beam_mixpanel.launcher.plain_flags import actions_of, is_switch, plain_flags
from beam_mixpanel.launcher.source import Source
from beam_mixpanel.launcher.sources import CHECKABLE, all_sources, check_of, source_named
from beam_mixpanel.pipelines import files_to_mixpanel

NOW = 1_790_000_000


def _call(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(main, arguments, input=given)


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "beam_mixpanel.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_files_are_imported(tmp_path: Path, emulator: Emulator, token_reference: str) -> None:
    """With the options and the exit code of the module."""
    (tmp_path / "a.csv").write_text("event,time,user_id\nA,1790000000,u\nB,,u\n")
    options = [f"--mixpanel_api_host={emulator.url}", f"--mixpanel_project_token={token_reference}"]
    done = _run("import", "files", f"--input={tmp_path}/a.csv", f"--dead_letters={tmp_path}/dead", *options)
    assert done.returncode == 3, done.stderr
    assert [event["event"] for event in emulator.events()] == ["A"]
    counted = _run("dead-letters", "summary", f"{tmp_path}/dead-*", "--json")
    assert [(group["reason"], group["count"]) for group in json.loads(counted.stdout)] == [("time_missing", 1)]
    again = _run("replay", f"--input={tmp_path}/dead-*", f"--dead_letters={tmp_path}/again", *options)
    assert again.returncode == 3, again.stderr


def test_files_are_checked(tmp_path: Path) -> None:
    """Without credentials; the page is there."""
    (tmp_path / "a.csv").write_text("event,time,user_id\nA,1790000000,u\n")
    done = _run("check", f"--input={tmp_path}/a.csv", f"--report={tmp_path}/report.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("arguments", [("import", "files"), ("replay",), ("check",), ("emulator",)])
def test_help_is_that_of_the_module(arguments: tuple[str, ...]) -> None:
    """All options with their meaning."""
    done = _run(*arguments, "--help")
    assert done.returncode == 0
    assert ("--mixpanel_region" in done.stdout) != (arguments == ("emulator",))


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("imprt",), "did you mean import?"),
        (("import", "file"), "did you mean files?"),
        (("import", "--input", "x"), "import bigquery|files|mongodb|pubsub|sql --input"),
        (("--input=x",), "--input belongs behind a command"),
        (("xyz",), "there are check, dead-letters, doctor, emulator, import, insert-id, replay"),
        (("doctor", "--mixpanel_regoin", "eu"), "mixpanel-region"),
        (("doctor", "--mixpanel-regoin", "eu"), "mixpanel-region"),
    ],
)
def test_what_is_unknown_names_the_nearest(arguments: tuple[str, ...], near: str) -> None:
    """With exit code 2."""
    done = _call(*arguments)
    assert done.exit_code == 2
    assert near in done.output


SOURCES = [*all_sources(), *map(check_of, CHECKABLE)]


SPOKEN = {"files": "files", "bigquery": "BigQuery", "sql": "SQL database", "mongodb": "MongoDB", "pubsub": "Pub/Sub"}


def test_help_and_docs_name_every_source() -> None:
    """The line under `import`, and the page on checks."""
    line = _call("import", "--help").output.partition("beam-mixpanel import files")[0]
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
    listed = next(part for part in page.split("\n\n") if part.startswith("A word after `check`"))
    for source in all_sources():
        if source.command.startswith("import "):
            assert SPOKEN[source.name] in line
    for name in CHECKABLE:
        assert name == CHECKABLE[0] or f"`{name}`" in listed


def test_help_for_a_check_of_a_stream_is_refused() -> None:
    """It has no end; the help of another source would mislead."""
    done = subprocess.run(
        [sys.executable, "-m", "beam_mixpanel", "check", "pubsub", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "what has an end" in done.stderr
    assert done.stdout == ""


def test_help_is_shown_beside_a_file_that_is_there(tmp_path: Path) -> None:
    """Its name is a word, too, but no source that a check would refuse."""
    (tmp_path / "events").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "beam_mixpanel", "check", "events", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert "--input" in done.stdout


@pytest.mark.parametrize("arguments", [("doctor", "--mixpanel-region=eu"), ("doctor", "--mixpanel_region", "eu")])
def test_small_commands_read_both_spellings(arguments: tuple[str, ...]) -> None:
    """Hyphens and underscores are the same in the names of their options."""
    assert _call(*arguments).exit_code == 0


@pytest.mark.parametrize("switch", ["--show-events", "--show_events"])
def test_switches_of_small_commands_are_read_in_both_spellings(switch: str, tmp_path: Path) -> None:
    """With their effect."""
    (tmp_path / "dead.jsonl").write_bytes(to_json_line(DeadLetter(b'{"event":"A1"}', "validate", "time_missing")))
    assert "A1" in _call("dead-letters", "summary", f"{tmp_path}/dead.jsonl", switch).output


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command)
def test_switches_and_lists_are_read_in_both_spellings(source: Source) -> None:
    """Also in the form of a Flex template, a value for each."""
    for group in source.all_flags:
        for flag in group:
            for spelling in flag.spellings:
                if flag.is_switch:
                    assert plain_flags([f"{spelling}=true"], (options_of(group),)) == [spelling]
                elif flag.repeated:
                    plain = plain_flags([f'{spelling}=["a","b"]'], (options_of(group),))
                    assert plain == [f"{spelling}=a", f"{spelling}=b"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--dead-leters", "--dead_letters"),
        ("--dead_leters", "--dead_letters"),
        ("--mixpanel-regoin", "--mixpanel_region"),
        ("--time-columns", "--time_column"),
        ("-event", "--event"),
    ],
)
def test_a_misspelt_option_names_the_documented_one(
    typed: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it was typed; nothing is read or sent."""
    (tmp_path / "a.ndjson").write_text("")
    code = files_to_mixpanel.run([f"--input={tmp_path}/a.ndjson", "--mixpanel_emulator", f"{typed}=x"])
    assert code == 2
    assert f"unknown option {typed}; did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ("--redcat=email", "did you mean --redact?"),
        ("--tabel=x", "did you mean --table?"),
        ("--dead-lettrs=x", "did you mean --dead_letters?"),
        ("--mixpanel_regoin=eu", "did you mean --mixpanel_region?"),
        ("--validate-only", "beam-mixpanel check"),
        ("--csv-types=a:integer", "unknown option --csv-types"),
        ("--subscription=a", "unknown option --subscription"),
        ("--stateBackend=rocksdb", None),
        ("--max_bundle_size=5", None),
    ],
)
def test_a_remote_runner_is_not_handed_options_that_were_meant_for_us(unknown: str, said: str | None) -> None:
    """Misspelt ones, and those of other sources: it would drop them. Its own options pass."""
    arguments = ["--runner=FlinkRunner", "--mixpanel_project_token=env:A", unknown]
    if said is None:
        parse_options(arguments, source_named("sql").groups)
        return
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_options(arguments, source_named("sql").groups)


REMOTE_OPTIONS = """
    parallelism maxParallelism checkpointingInterval checkpointingMode checkpointTimeoutMillis
    maxBundleSize maxBundleTimeMills shutdownSourcesAfterIdleMs autoWatermarkInterval savepointPath
    allowNonRestoredState stateBackend stateBackendStoragePath objectReuse fasterCopy operatorChaining
    flinkConfDir filesToStage executionModeForBatch reIterableGroupByKeyResult enableMetrics
    storageLevel batchIntervalMillis checkpointDir minReadTimeMillis maxRecordsPerBatch
    readTimePercentage cacheDisabled bundleSize
"""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command)
def test_options_of_remote_runners_are_not_taken_for_ours(source: Source) -> None:
    """Those of Beam's runners for Flink and Spark, in Java's spelling and in Python's.

    Sources: https://beam.apache.org/documentation/runners/flink/ and https://beam.apache.org/documentation/runners/spark/
    """
    for name in REMOTE_OPTIONS.split():
        python = re.sub("([A-Z])", lambda letter: f"_{letter[1].lower()}", name)
        parse_options(["--runner=FlinkRunner", f"--{name}=1", f"--{python}", "1"], source.groups)


def _completed(line: str) -> list[str]:
    """Complete the last word of a line, as click's script for bash asks for it."""
    words = line.split(" ")
    done = _run(_BEAM_MIXPANEL_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("beam-mixpanel ins", ["plain,insert-id"]),
        ("beam-mixpanel import files --mixpanel_reg", ["plain,--mixpanel_region"]),
        ("beam-mixpanel check --input my", ["file,my"]),
        ("beam-mixpanel check --input = my", ["file,my"]),
        ("beam-mixpanel check --input_format p", ["plain,parquet"]),
        ("beam-mixpanel check --flatten --summ", ["plain,--summary"]),
        ("beam-mixpanel check --dead-l", ["plain,--dead-letters"]),
        ("beam-mixpanel emulator --rate-limit-", ["plain,--rate-limit-burst"]),
    ],
)
def test_words_are_completed(line: str, completed: list[str]) -> None:
    """Commands, options, choices and files, also where bash takes --option=value apart."""
    assert _completed(line) == completed


def test_bash_completes(tmp_path: Path) -> None:
    """What the script that the documentation names gives bash."""
    program = tmp_path / "beam-mixpanel"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m beam_mixpanel.cli "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_BEAM_MIXPANEL_COMPLETE=bash_source beam-mixpanel)"
        complete -p beam-mixpanel
        COMP_WORDS=(beam-mixpanel import files --mixpanel_reg) COMP_CWORD=3
        _beam_mixpanel_completion beam-mixpanel
        echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _beam_mixpanel_completion beam-mixpanel",
        "--mixpanel_region",
    ], done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command)
def test_every_option_is_completed(source: Source) -> None:
    """The names as they are documented, with hyphens where those are typed, and what its values can be."""
    flags = [flag for group in source.all_flags for flag in group]
    assert [item.value for item in complete(flags, (), "")] == [*(flag.option for flag in flags), "--help"]
    assert [item.value for item in complete(flags, (), "--dead-")] == ["--dead-letters"]
    for flag in flags:
        proposed = complete(flags, (flag.spellings[-1],), "")
        if flag.is_switch:
            assert len(proposed) == len(flags) + 1
        else:
            assert [item.value for item in proposed] == (list(flag.completions) or [""])


def test_choices_of_free_text_are_those_of_the_code() -> None:
    """Regions and presets are checked elsewhere than by the parser."""
    flags = {flag.name: flag for group in SOURCES[0].all_flags for flag in group}
    assert flags["mixpanel_region"].completions == tuple(REGION_HOSTS)
    assert flags["preset"].completions == tuple(PRESETS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command)
def test_options_are_those_that_beam_is_given(source: Source) -> None:
    """What the help shows is what the job takes, each with its default, its choices, and both spellings."""
    actions = [action for group in (*source.groups, *COMMON_OPTIONS) for action in actions_of(group)]
    flags = [flag for group in source.all_flags for flag in group]
    assert {tuple(action.option_strings) for action in actions} == {flag.spellings for flag in flags}
    by_name = {action.dest: action for action in actions}
    for flag in flags:
        action = by_name[flag.name]
        assert is_switch(action) == flag.is_switch
        assert tuple(action.choices or ()) == flag.choices
        assert flag.is_switch or action.default == flag.default


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command)
def test_help_fits_a_screen_and_loads_no_beam(source: Source) -> None:
    """Examples first, ours by purpose, under 80 lines of at most 100 characters (but for examples to be copied)."""
    code = "import sys; sys.modules['apache_beam'] = None; from beam_mixpanel.cli.__main__ import main; main()"
    command = [sys.executable, "-c", code, *source.command.split(), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) < 80
    options = lines[lines.index(f"{source.all_flags[0].title}:") :]
    assert max(map(len, options)) <= 100
    assert lines[4] == "Examples:"
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    shown = [group.title for group in source.all_flags if not all(flag.rare for flag in group)]
    assert titles == ["Examples", *shown]


@pytest.mark.parametrize("spelling", ["--help-all", "--help_all"])
def test_all_help_is_asked_for_in_both_spellings(spelling: str) -> None:
    """It is what the next test looks at; other tests have loaded options of Beam's that a fresh process has not."""
    done = _run("import", "files", spelling, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    beginning = full_help(SOURCES[0], 100).partition("\nApache Beam\n")[0]
    assert done.stdout.startswith(f"{beginning}\nApache Beam\n")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command)
def test_all_help_shows_every_option(source: Source) -> None:
    """With its whole meaning, ours before those of Beam."""
    ours, _, of_beam = full_help(source, 100).partition("\nApache Beam\n")
    flat = " ".join(ours.split())
    for group in source.all_flags:
        for flag in group:
            assert f"  {flag.option}" in ours
            assert " ".join(flag.full_meaning.split()) in flat
    assert "--runner" in of_beam
    assert "--temp_location" in of_beam


@pytest.mark.parametrize("command", [*map(lambda source: source.command, SOURCES)])
def test_examples_are_commands_that_are_understood(command: str) -> None:
    """Each example of a help is read without a complaint of its options."""
    source = next(each for each in SOURCES if each.command == command)
    for example in source.examples:
        words = shlex.split(example.replace("\\\n", " "))
        options = [word for word in words if word.startswith("--")]
        beams = {"--project", "--runner"}
        known = {
            spelling for each in SOURCES for group in each.all_flags for flag in group for spelling in flag.spellings
        }
        assert set(options) <= known | beams


@pytest.mark.parametrize(
    "arguments", [("--help",), ("doctor", "--help"), ("insert-id", json.dumps({"event": "A"})), ("emulator", "--help")]
)
def test_small_commands_load_no_beam(arguments: tuple[str, ...]) -> None:
    """Beam takes seconds to load; help, an id and the emulator do without."""
    code = f"import sys; sys.modules['apache_beam'] = None; sys.argv = ['beam-mixpanel', *{arguments!r}]; "
    done = subprocess.run(
        [sys.executable, "-c", code + "from beam_mixpanel.cli.__main__ import main; main()"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("insert-id", '{"event":"A","properties":{"time":1790000000}}')])
def test_a_full_disk_is_told_in_a_line(arguments: tuple[str, ...]) -> None:
    """Without a trace, and with an exit code that says so."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "beam_mixpanel.cli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "cannot write the output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_shown_on_a_terminal_of_latin_1() -> None:
    """What its letters lack is replaced."""
    done = _run("dead-letters", "summary", "--help", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "FILE?" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--prot", "1"), "error: unknown option --prot; did you mean --port?"),
        (("--rate_limti=5",), "unknown option --rate_limti; did you mean --rate-limit?"),
        (("--port=abc",), "argument --port: invalid int value: 'abc'"),
        (("--rate_limit=abc",), "argument --rate-limit: invalid float value: 'abc'"),
        (("user:hush",), "an argument belongs to no option"),
        (("--service-account=hush",), "service_account must be written as username:secret"),
    ],
)
def test_wrong_options_of_the_emulator_are_told_in_a_line(
    arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the nearest option, without twenty lines of usage, and never with a secret."""
    with pytest.raises(SystemExit) as ended:
        run_emulator(arguments)
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "hush" not in error


def test_dead_letters_are_counted_by_reason(tmp_path: Path) -> None:
    """The most frequent first; events are shown only where that is asked for; what is no letter is counted, too."""
    letters = [
        DeadLetter(b'{"event":"A","secret":"hush"}', "validate", "time_missing", "properties.time", "it has no time"),
        DeadLetter(b"{", "parse", "invalid_json", source="a.ndjson@7"),
        DeadLetter(b'{"event":"B"}', "validate", "time_missing"),
    ]
    lines = b"".join(to_json_line(letter) + b"\n" for letter in letters)
    (tmp_path / "dead-1.jsonl").write_bytes(lines + b"nothing\n\n")
    done = _call("dead-letters", "summary", f"{tmp_path}/dead-*", "--json")
    groups = json.loads(done.output)
    assert [(group["stage"], group["reason"], group["count"]) for group in groups] == [
        ("validate", "time_missing", 2),
        ("parse", "invalid_json", 1),
        ("parse", "not_a_dead_letter", 1),
    ]
    assert groups[1]["source"] == "a.ndjson@7"
    table = _call("dead-letters", "summary", f"{tmp_path}/dead-*")
    assert "4 dead letters" in table.output
    assert "beam-mixpanel replay --input" in table.output
    assert "hush" not in table.output + done.output
    assert "hush" in _call("dead-letters", "summary", f"{tmp_path}/dead-*", "--show-events").output


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    """With exit code 2, as the pipelines do it."""
    done = _call("dead-letters", "summary", f"{tmp_path}/none-*")
    assert done.exit_code == 2
    assert "no such file" in done.output


EVENT: dict[str, Any] = {"event": "A", "properties": {"time": NOW, "distinct_id": "u"}}


@pytest.mark.parametrize(
    ("properties", "strategy", "sent", "why"),
    [
        ({"$insert_id": "abc-1"}, "content", "abc-1", "the event has it"),
        ({"$insert_id": "not allowed!"}, "content", None, "Mixpanel refuses"),
        ({}, "content", None, "a hash of all of it"),
        ({"order": 7}, "columns:order", None, "a hash of order"),
        ({}, "mixpanel-import", str(mmh3.hash(f"A-u-{NOW}".encode(), signed=False)), "murmur3"),
    ],
)
def test_an_insert_id_is_explained(properties: dict[str, Any], strategy: str, sent: str | None, why: str) -> None:
    """As the pipelines make it, and from which of its origins it is."""
    event = json.dumps(EVENT | {"properties": EVENT["properties"] | properties})
    done = _call("insert-id", "--strategy", strategy, given=event)
    assert done.exit_code == 0, done.output
    assert why in done.output
    if sent:
        assert f"$insert_id  {sent}\n" in done.output
    assert _call("insert-id", event, "--strategy", strategy).output == done.output


@pytest.mark.parametrize(
    ("given", "cure"), [("", "give an event as JSON"), ("{", "invalid_json"), ("[]", "not_an_obj")]
)
def test_what_is_no_event_is_refused(given: str, cure: str) -> None:
    """With words."""
    done = _call("insert-id", given=given)
    assert done.exit_code
    assert cure in done.output


def test_a_doctor_finds_this_machine_well() -> None:
    """Without credentials the server is not asked."""
    done = _call("doctor")
    assert done.exit_code == 0, done.output
    assert "not asked" in done.output
    assert "BAD" not in done.output


def test_a_doctor_asks_the_server(emulator: Emulator, token_reference: str) -> None:
    """To import nothing: no event arrives."""
    done = _call("doctor", f"--mixpanel_project_token={token_reference}", f"--mixpanel_api_host={emulator.url}")
    assert done.exit_code == 0, done.output
    assert emulator.stats()["events_received"] == 0
    assert len(emulator.requests()) == 1
    assert "a-token" not in done.output


def _finds(post: Callable[[str, Mapping[str, str], bytes], Answer], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("TEST_MIXPANEL_TOKEN", "a-token")
    found = ask(ProjectToken.from_reference("env:TEST_MIXPANEL_TOKEN"), "https://a-host", post, lambda: float(NOW))
    return {finding.what: finding.verdict for finding in found}


def _answer(status: int, date: str = "Mon, 21 Sep 2026 14:13:20 GMT") -> Callable[..., Answer]:
    return lambda url, headers, body: Answer(status, {"date": date}, b"")


def _no_answer(*_: Any) -> Answer:
    raise NoAnswerError("timeout", "it took too long")


@pytest.mark.parametrize(
    ("post", "bad"),
    [
        (_answer(200), set()),
        (_answer(400), set()),
        (_answer(503), set()),
        (_answer(401), {"authentication"}),
        (_answer(403), {"authentication"}),
        (_answer(200, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(NOW - 200))), {"clock"}),
        (_answer(200, "soon"), set()),
        (_no_answer, {"server"}),
    ],
)
def test_a_doctor_tells_what_is_wrong(post: Any, bad: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused credentials, a clock that is wrong, a server that is not there; and nothing else."""
    assert {what for what, verdict in _finds(post, monkeypatch).items() if verdict == "BAD"} == bad


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("--mixpanel_service_account=env:A",), "needs --mixpanel_project_id"),
        (("--mixpanel_project_token=env:A", "--mixpanel_project_id=1"), "--mixpanel_project_id has no effect"),
        (("--mixpanel_project_id=1",), "no credentials"),
        (("--mixpanel_service_account=env:A", "--mixpanel_project_token=env:B"), "not both"),
        (("--mixpanel_project_token=plain-secret",), "env:NAME"),
        (("--mixpanel_project_token=env:A", "--mixpanel_region=mars"), "eu"),
    ],
)
def test_wrong_options_of_a_doctor_name_the_cure(arguments: tuple[str, ...], cure: str) -> None:
    """With exit code 2, and no secret."""
    done = _call("doctor", *arguments)
    assert done.exit_code == 2
    assert cure in done.output
    assert "plain-secret" not in done.output


def test_the_command_is_installed() -> None:
    """As `beam-mixpanel`, by the package."""
    import tomllib

    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"beam-mixpanel": "beam_mixpanel.cli.__main__:main"}
