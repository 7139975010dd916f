r"""A stream from Kafka to Mixpanel: each message's value is the JSON of an event.

python kafka_to_mixpanel.py --bootstrap_servers HOST:PORT --topic NAME --mixpanel_project_token env:NAME \
    --dead_letters PREFIX [OPTION]...

Other options are the runner's. Kafka is read by Beam's KafkaIO, which is Java: Beam's expansion service and a Java
worker take part. --expansion_service names a service that runs; without it Beam starts its own.
"""

from __future__ import annotations

import argparse

import apache_beam as beam
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_mixpanel import ProjectToken, WriteDeadLetters, WriteToMixpanel


def main() -> None:
    """Run until the job is cancelled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap_servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--expansion_service")
    parser.add_argument("--mixpanel_project_token", required=True, help="a reference, such as env:NAME")
    parser.add_argument("--dead_letters", required=True, help="prefix of files for what cannot be imported")
    parser.add_argument("--mixpanel_api_host", help="another server, such as an emulator")
    given, rest = parser.parse_known_args()
    options = PipelineOptions(rest)
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        messages = pipeline | "Read" >> ReadFromKafka(
            {"bootstrap.servers": given.bootstrap_servers, "auto.offset.reset": "earliest"},
            [given.topic],
            expansion_service=given.expansion_service,
        )
        result = (
            messages
            | "Values" >> beam.Values()
            | WriteToMixpanel(
                ProjectToken.from_reference(given.mixpanel_project_token),
                api_host=given.mixpanel_api_host,
                max_buffering_secs=2,
                num_shards=2,
            )
        )
        _ = result.dead_letters | WriteDeadLetters(given.dead_letters)


if __name__ == "__main__":
    main()
