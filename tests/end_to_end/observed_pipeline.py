"""Runs `files_to_mixpanel` and writes down all that it says and submits: `observed_pipeline.py FOLDER [argument …]`.

Into the folder go: everything that any logger says at DEBUG level; the pipeline as it is submitted, its options and
display data; and each exception with its causes and the variables of all frames.
"""

from __future__ import annotations

import itertools
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
_numbers = itertools.count()


def write(kind: str, content: str | bytes) -> None:
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    (FOLDER / f"{next(_numbers):03d}.{kind}").write_bytes(data)


def write_error(error: BaseException) -> None:
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    write("traceback", "".join(report.format()))


def log_everything() -> None:
    logging.basicConfig(filename=FOLDER / "debug.log", level=logging.DEBUG, force=True)
    logging.getLogger("apache_beam").setLevel(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.DEBUG)


def observe(module: Any, name: str) -> None:
    """Write down what a function raises."""
    original = getattr(module, name)

    def observed(*arguments: Any, **named: Any) -> Any:
        try:
            return original(*arguments, **named)
        except BaseException as error:
            write_error(error)
            raise

    setattr(module, name, observed)


def main() -> int:
    from apache_beam.pipeline import Pipeline, PipelineVisitor
    from apache_beam.transforms.display import DisplayData

    from beam_mixpanel.client.client import MixpanelClient
    from beam_mixpanel.client.transport import PooledTransport
    from beam_mixpanel.launcher import messages
    from beam_mixpanel.pipelines import check_events, files_to_mixpanel

    class Shower(PipelineVisitor):
        def visit_transform(self, transform_node: Any) -> None:
            if transform_node.transform is not None:
                write("display", repr(DisplayData.create_from(transform_node.transform).items))
                write("repr", f"{transform_node.transform!r} {vars(transform_node.transform)!r}")

    run, explain = Pipeline.run, messages.explain

    def observed_run(pipeline: Pipeline, *arguments: Any, **named: Any) -> Any:
        proto = pipeline.to_runner_api()
        write("proto", proto.SerializeToString())
        write("proto.txt", str(proto))
        options = pipeline._options
        write("options", f"{options} {options!r} {options.get_all_options()} {DisplayData.create_from(options).items}")
        pipeline.visit(Shower())
        return run(pipeline, *arguments, **named)

    def observed_explain(error: BaseException) -> str:
        write_error(error)
        return explain(error)

    Pipeline.run = observed_run
    messages.explain = observed_explain
    observe(MixpanelClient, "import_batch")
    observe(PooledTransport, "__call__")
    log_everything()
    logging.getLogger("observed").debug("observing %s", FOLDER.name)
    arguments = [argument for argument in sys.argv[2:] if argument != "--check"]
    pipeline = check_events if "--check" in sys.argv else files_to_mixpanel
    return pipeline.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
