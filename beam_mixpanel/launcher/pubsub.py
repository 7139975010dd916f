"""The source of `import pubsub`: from the options to Beam's source of messages, or an error that names the cure."""

from __future__ import annotations

from apache_beam.options.pipeline_options import StandardOptions

from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.opened import Opened
from beam_mixpanel.launcher.options import PubSubOptions
from beam_mixpanel.launcher.runners import STREAM_RUNNER, runner_of
from beam_mixpanel.launcher.settings import Settings
from beam_mixpanel.launcher.usage import as_usage


def check_stream(settings: Settings) -> None:
    """See that a stream can be read where it is to run, and that no event can stop it.

    Raises:
      UsageError: it cannot, or the options contradict each other.
    """
    options = settings.options.view_as(PubSubOptions)
    runner = runner_of(settings.options)
    if bool(options.subscription) == bool(options.topic):
        raise UsageError("give either --subscription projects/PROJECT/subscriptions/NAME or --topic NAME")
    if not (settings.runs_remotely or runner == STREAM_RUNNER):
        raise UsageError(
            f"Beam's Pub/Sub source does not run on {runner}: use --runner=DataflowRunner, or "
            f"{STREAM_RUNNER} to try it out"
        )
    if options.id_attribute and runner == STREAM_RUNNER:
        raise UsageError(f"--id_attribute works on Dataflow only; leave it out on {STREAM_RUNNER}")
    if not settings.dead_letters:
        raise UsageError(
            "a stream needs --dead_letters PREFIX: without it, the first event that cannot be imported would stop it"
        )
    settings.options.view_as(StandardOptions).streaming = True


def open_messages(settings: Settings) -> Opened:
    """Make Beam's source of messages, whose data are events or rows as JSON.

    Raises:
      UsageError: Google's client is not installed, or Beam refuses a name.
    """
    try:
        from apache_beam.io.gcp.pubsub import ReadFromPubSub
        from google.cloud import pubsub as _  # noqa: F401 - Beam does without until the pipeline runs
    except ImportError:
        raise UsageError("Pub/Sub needs Google's clients: pip install 'beam-mixpanel[gcp]'") from None
    options = settings.options.view_as(PubSubOptions)
    with as_usage(ValueError):
        return Opened(ReadFromPubSub(options.topic, options.subscription, id_label=options.id_attribute), settings)
