"""The options of our own jobs as Beam's classes, each made from a group of `flags.py`.

They have short names such as `--input`, which would clash with the options of other people's jobs: nothing outside the
launcher and its pipelines imports them.
"""

from __future__ import annotations

import argparse
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

from beam_mixpanel.launcher import flags
from beam_mixpanel.launcher.sources import all_sources, bigquery, pubsub, replay, sql
from beam_mixpanel.transforms.flags import MIXPANEL, FlagGroup, add_flags
from beam_mixpanel.transforms.options import MixpanelOptions


class JobOptions(PipelineOptions):
    """What a run leaves behind, and what counts as success."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.JOB)


class RedactionOptions(PipelineOptions):
    """Which properties never leave."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.REDACTION)


class MappingOptions(PipelineOptions):
    """How rows become events; each flag is a key of a mapping file, too."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.MAPPING)


class FileOptions(PipelineOptions):
    """Which files to read."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.FILES)


class ReplayOptions(PipelineOptions):
    """Which dead letters to try again, and how to repair them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, replay.REPLAY)


class TableOptions(PipelineOptions):
    """Which rows to read, of what holds tables."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.TABLE)


class BigQueryOptions(PipelineOptions):
    """How to read BigQuery."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, bigquery.BIGQUERY)


class PubSubOptions(PipelineOptions):
    """Which messages to read."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, pubsub.PUBSUB)


class ConnectionOptions(PipelineOptions):
    """Which database to read, in how many parts."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.CONNECTION)


class SqlOptions(PipelineOptions):
    """How to cut what is read of a SQL database."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, sql.SQL)


class IncrementalOptions(PipelineOptions):
    """What of a source is new."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, flags.INCREMENTAL)


_OPTIONS: Final[dict[FlagGroup, type[PipelineOptions]]] = {
    **dict.fromkeys(MIXPANEL, MixpanelOptions),
    flags.MAPPING: MappingOptions,
    flags.REDACTION: RedactionOptions,
    flags.JOB: JobOptions,
    flags.FILES: FileOptions,
    replay.REPLAY: ReplayOptions,
    flags.TABLE: TableOptions,
    flags.CONNECTION: ConnectionOptions,
    sql.SQL: SqlOptions,
    bigquery.BIGQUERY: BigQueryOptions,
    pubsub.PUBSUB: PubSubOptions,
    flags.INCREMENTAL: IncrementalOptions,
}


def options_of(group: FlagGroup) -> type[PipelineOptions]:
    """Return the class of Beam's that has these options; it is made where none of the above has them.

    Beam refuses two classes with one option, so no group may have two.
    """
    if group not in _OPTIONS:
        own = {"_add_argparse_args": classmethod(lambda _, parser: add_flags(parser, group)), "__doc__": group.title}
        _OPTIONS[group] = type(f"{group.title.title().replace(' ', '')}Options", (PipelineOptions,), own)
    return _OPTIONS[group]


SOME_TAKE: Final = tuple(dict.fromkeys(options_of(group) for source in all_sources() for group in source.flags))
"""What only some jobs take; the others refuse it rather than ignore it."""
