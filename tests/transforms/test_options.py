"""`MixpanelOptions` in jobs that have options of their own, and the sink that is made of them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel import EventMapping, MixpanelOptions, ServiceAccount, WriteToMixpanel
from beam_mixpanel.emulator import Emulator
from beam_mixpanel.launcher.plain_flags import actions_of
from beam_mixpanel.transforms.options import _OF_CREDENTIALS

ROOT = Path(__file__).parents[2]
TOKEN = "--mixpanel_project_token=env:A_TOKEN"
OWN_OPTIONS = """
import json, sys
import beam_mixpanel
from beam_mixpanel import *
from apache_beam.options.pipeline_options import PipelineOptions

class JobOptions(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser):
        for name in ("input", "table", "query", "event", "redact", "mapping", "state", "connection", "topic", "report"):
            parser.add_argument(f"--{name}", type=int)

def all_of(group):
    return [group, *(each for child in group.__subclasses__() for each in all_of(child))]

options = PipelineOptions(["--input=7", "--redact=8", "--event=9", "--mixpanel_region=eu", "--dead_letters=x"])
own, mixpanel = options.view_as(JobOptions), options.view_as(MixpanelOptions)
print(json.dumps({
    "own": [own.input, own.redact, own.event],
    "region": mixpanel.mixpanel_region,
    "all": {name: value for name, value in options.get_all_options().items() if name in ("input", "redact")},
    "groups": [each.__name__ for each in all_of(PipelineOptions) if each.__module__.startswith("beam_mixpanel")],
}))
"""


def _of(*flags: str) -> WriteToMixpanel:
    return WriteToMixpanel.from_options(PipelineOptions(flags))


def test_a_job_has_options_of_its_own_beside_them() -> None:
    """Everything public can be imported, and a job's `--input`, `--event` or `--redact` are still its own."""
    done = subprocess.run([sys.executable, "-c", OWN_OPTIONS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "own": [7, 8, 9],
        "region": "eu",
        "all": {"input": 7, "redact": 8},
        "groups": ["MixpanelOptions"],
    }


def test_the_sink_registers_no_options() -> None:
    """A job that uses the sink without options has none of ours."""
    code = (
        "from beam_mixpanel import WriteToMixpanel, ProjectToken; WriteToMixpanel(ProjectToken('t'));"
        "from apache_beam.options.pipeline_options import PipelineOptions;"
        "print([name for name in PipelineOptions().get_all_options() if 'mixpanel' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_options_are_the_arguments_of_the_sink_with_a_prefix() -> None:
    """Each option but those of the credentials is an argument of the same name and the same default, and none else."""
    options = PipelineOptions([]).view_as(MixpanelOptions)
    parameters = inspect.signature(WriteToMixpanel.__init__).parameters
    assert set(parameters) - set(options.arguments()) == {"self", "credentials", "redact", "mapping"}
    assert options.arguments() == {name: parameters[name].default for name in options.arguments()}
    dests = {action.dest for action in actions_of(MixpanelOptions)}
    assert dests == {f"mixpanel_{name}" for name in (*options.arguments(), *_OF_CREDENTIALS)}


def test_each_option_reaches_the_sink() -> None:
    """What the command line says is what the sink does."""
    shown = _of(
        TOKEN, "--mixpanel_region=in", "--mixpanel_max_batch_events=7", "--mixpanel_num_shards=3"
    ).display_data()
    assert shown["host"] == "https://api-in.mixpanel.com"
    assert (shown["max_batch_events"], shown["num_shards"]) == (7, "3")
    assert shown["credentials"] == "ProjectToken(env:A_TOKEN)"


def test_overrides_take_the_place_of_options() -> None:
    """An argument beside the options wins, and credentials need then not be among them."""
    options = PipelineOptions(["--mixpanel_region=in", "--mixpanel_max_batch_events=7"])
    account = ServiceAccount.from_reference("env:A", project_id=1)
    shown = WriteToMixpanel.from_options(
        options, credentials=account, region="eu", mapping=EventMapping(event="A"), redact=["email"]
    ).display_data()
    assert shown["host"] == "https://api-eu.mixpanel.com"
    assert shown["max_batch_events"] == 7
    assert shown["credentials"] == repr(account)
    with pytest.raises(TypeError, match="batch_events"):
        WriteToMixpanel.from_options(options, credentials=account, batch_events=3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "no credentials: give `mixpanel_service_account`"),
        ((TOKEN, "--mixpanel_service_account=env:A", "--mixpanel_project_id=1"), "not both"),
        (("--mixpanel_service_account=env:A",), "needs `mixpanel_project_id`"),
        (
            ("--mixpanel_service_account=hunter2", "--mixpanel_project_id=1"),
            "`mixpanel_service_account`: expected a ref",
        ),
        (("--mixpanel_project_token=hunter2",), "`mixpanel_project_token`: expected a reference"),
        (("--mixpanel_service_account=env:A", "--mixpanel_project_id=hunter2"), "the project's number"),
        ((TOKEN, "--mixpanel_project_id=1"), "`mixpanel_project_id` has no effect beside `mixpanel_project_token`"),
    ],
)
def test_wrong_credentials_are_refused_without_repeating_them(flags: tuple[str, ...], message: str) -> None:
    """The options name one reference to credentials; what may be a secret is not repeated."""
    with pytest.raises(ValueError, match="mixpanel_") as caught:
        _of(*flags)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_job_imports_with_options(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line alone says where events go."""
    monkeypatch.setenv("A_TOKEN", "token")
    options = PipelineOptions([TOKEN, f"--mixpanel_api_host={emulator.url}", "--runner=FnApiRunner"])
    event = {"event": "A", "properties": {"time": 1_767_268_800, "distinct_id": "u"}}
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([event]) | WriteToMixpanel.from_options(options)
    assert [each["event"] for each in emulator.events()] == ["A"]


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--mixpanel_regoin=eu", "did you mean mixpanel_region"),
        ("--mixpanel_num_shard=3", "did you mean mixpanel_num_shards"),
        ("--mixpanel_x=1", "no option mixpanel_x"),
    ],
)
def test_an_option_that_does_not_exist_is_refused(flag: str, meant: str) -> None:
    """Beam drops it with a warning, and the job would send elsewhere, or otherwise, than was asked."""
    with pytest.raises(ValueError, match=meant):
        WriteToMixpanel.from_options(PipelineOptions(["--mixpanel_project_token=env:A", flag, "--other=1"]))
