"""Wrong arguments: exit code 2 and the cure, before anything is sent."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import StandardOptions

from beam_mixpanel.emulator import Emulator
from beam_mixpanel.launcher.plain_flags import actions_of, plain_flags
from beam_mixpanel.pipelines import check_events, files_to_mixpanel

SECRET = "hunter2-do-not-print"


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        ((), "--mixpanel_service_account REF"),
        (("--mixpanel_project_token=" + SECRET,), "env:NAME"),
        (("--mixpanel_service_account=user:" + SECRET, "--mixpanel_project_id=1"), "env:NAME"),
        (("--mixpanel_service_account={ref}",), "--mixpanel_project_id"),
        (("--mixpanel_service_account={ref}", "--mixpanel_project_id=mine"), "the project's number"),
        (("--mixpanel_service_account={ref}", "--mixpanel_project_id=1"), "username:secret"),
        (("--mixpanel_project_token=env:NOT_SET_ANYWHERE",), "NOT_SET_ANYWHERE is not set"),
        (("--mixpanel_project_token=file:/no/such/file",), "cannot read"),
        (("--mixpanel_project_token=gcp-secret:mine",), "projects/P/secrets"),
        (("--mixpanel_project_token={ref}", "--mixpanel_api_host=http://example.com"), "https://"),
        (("--mixpanel_project_token={ref}", "--mixpanel_api_host=example.com"), "https://HOST"),
        (("--mixpanel_project_token={ref}", "--mixpanel_region=fr"), "us, eu, in"),
        (("--mixpanel_project_token={ref}", "--mixpanel_emulator"), "leave them out"),
        (("--mixpanel_project_id=1", "--mixpanel_emulator"), "no project"),
        (
            ("--mixpanel_project_token={ref}", "--mixpanel_project_id=1"),
            "_project_id has no effect beside --",
        ),
        (
            ("--mixpanel_project_token={ref}", "--mixpanel_region=eu", "--mixpanel_api_host=https://h.example.com"),
            "--mixpanel_region has no effect beside --mixpanel_api_host",
        ),
        (("--mixpanel_project_token={ref}", "--mixpanel_ca_bundle={folder}/none.pem"), "none.pem: No such file"),
        (("--mixpanel_project_token={ref}", "--mixpanel_ca_bundle={file}"), "no certificate in PEM form"),
        (("--mixpanel_emulator", "--mixpanel_max_batch_events=0"), "between 1 and 2000"),
        (("--mixpanel_emulator", "--mixpanel_max_batch_events=many"), "invalid int value"),
        (("--mixpanel_emulator", "--mixpanel_endpoint=engage"), "import"),
        (("--mixpanel_emulator", "--mixpanel_time_zone=Nowhere"), "IANA"),
        (("--mixpanel_emulator", "--redact=email", "--redact=time"), "refuses an event without it"),
        (("--mixpanel_emulator", "--redact=$insert_id"), "would appear twice"),
        (("--mixpanel_emulator", "--mixpanel_insert_id=random"), "content or mixpanel-import"),
        (("--mixpanel_emulator", "--mixpanel_insert_id=columns:order"), "name columns by --insert_id_columns"),
        (("--mixpanel_emulator", "--mixpanel_regoin=eu"), "--mixpanel_region"),
        (("--mixpanel_emulator", "--dead_leters=x"), "--dead_letters"),
        (("--mixpanel_emulator", "--validate_only"), "beam-mixpanel check"),
        (("--mixpanel_emulator", "--check_report=x.html"), "beam-mixpanel check"),
        (("--mixpanel_emulator", "--runner=FlinkRunner", "--validate_only"), "beam-mixpanel check"),
        (("--mixpanel_emulator", "--allow_dead_letters=some", "--dead_letters=x"), "0.5%"),
        (("--mixpanel_emulator", "--allow_dead_letters=5"), "--dead_letters PREFIX"),
        (("--mixpanel_emulator", "--dead_letters={file}/dead"), "cannot create"),
        (("--mixpanel_emulator", "--summary={folder}"), "is a folder"),
        (("--report={folder}", "--mixpanel_emulator"), "/report.html"),
        (("--mixpanel_emulator", "{file}"), "events.ndjson' belongs to no option"),
        (("--mixpanel_emulator", "user:" + SECRET), "quote the pattern"),
        (("--mixpanel_service_account={ref}", "--mixpanel_project_id=" + SECRET), "the project's number"),
        (("--mixpanel_emulator", "-mixpanel_region", "eu"), "--mixpanel_region"),
        (("--mixpanel_emulator", "--runner=Fast"), "FnApiRunner"),
        (("--mixpanel_emulator", "--runner", "FastRunner"), "FnApiRunner"),
        (("--mixpanel_project_token={ref}", "--mixpanel_api_host=http://[::1"), "https://HOST"),
        (
            (
                "--mixpanel_project_token={ref}",
                "--runner=DataflowRunner",
                "--project=p-123",
                "--region=us-central1",
                "--temp_location=gs://bucket/tmp",
            ),
            "gcp-secret:",
        ),
    ],
)
def test_wrong_arguments_are_exit_2_with_the_cure(
    tmp_path: Path,
    token_reference: str,
    emulator: Emulator,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    cure: str,
) -> None:
    """Each error names its cure, never a secret, and nothing is sent."""
    file = tmp_path / "events.ndjson"
    file.write_text("{}\n")
    places = {"{ref}": token_reference, "{file}": str(file), "{folder}": str(tmp_path)}
    arguments = [functools.reduce(lambda text, place: text.replace(*place), places.items(), flag) for flag in flags]
    assert files_to_mixpanel.run([f"--input={file}", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert cure in error.replace("\n", " ")
    assert SECRET not in error
    assert emulator.requests() == []


@pytest.mark.parametrize(
    ("pattern", "cure"),
    [(None, "--input"), ("nothing-*.ndjson", "no such file"), (".", "add /*"), ("missing://x/y", "missing")],
)
def test_input_that_cannot_be_read_is_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pattern: str | None, cure: str
) -> None:
    """No input, no such file and a folder are told before the job starts."""
    where = pattern if pattern is None or "://" in pattern else str(tmp_path / pattern)
    flags = [] if where is None else [f"--input={where}"]
    assert files_to_mixpanel.run([*flags, "--mixpanel_emulator"]) == 2
    assert cure in capsys.readouterr().err


def test_a_check_names_its_report_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--report`, not the option that the other pipelines have for the same page."""
    (tmp_path / "a.ndjson").write_text("{}\n")
    assert check_events.run([f"--input={tmp_path}/a.ndjson", f"--report={tmp_path}"]) == 2
    assert capsys.readouterr().err.startswith("error: --report ")


def test_switches_of_beam_take_true_and_false() -> None:
    """As templates give them; what is no switch stays as it is."""
    beams = actions_of(StandardOptions)
    assert plain_flags(["--streaming=true", "--runner=true"], (), beams) == ["--streaming", "--runner=true"]
    assert plain_flags(["--streaming=false"], (), beams) == []


def test_help_lists_our_options(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` shows this project's options and the exit codes, not the two hundred of Beam."""
    with pytest.raises(SystemExit) as ended:
        files_to_mixpanel.run(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--mixpanel_service_account" in shown
    assert "Exit codes" in shown
    assert "--flink_master" not in shown
