"""From the options of `pubsub_to_mixpanel` to Beam's source."""

from __future__ import annotations

import apache_beam as beam

from beam_mixpanel.errors import UsageError
from beam_mixpanel.launcher.arguments import Settings
from beam_mixpanel.launcher.options import PubSubOptions


def read_messages(settings: Settings) -> beam.PTransform:
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
    try:
        return ReadFromPubSub(options.topic, options.subscription, id_label=options.id_attribute)
    except ValueError as error:
        raise UsageError(str(error)) from None
