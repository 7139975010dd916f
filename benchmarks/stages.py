"""The floor: the stages of the import alone, in one thread, without Beam."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import requests

from beam_mixpanel.core.events.prepare import EventBlock, EventPreparer
from beam_mixpanel.core.formats.byte_ranges import read_blocks
from beam_mixpanel.core.limits import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from beam_mixpanel.core.sending.batching import BatchPacker
from beam_mixpanel.core.sending.encoding import compress, encode_json

STAGES = ("read", "prepare", "pack", "encode", "gzip", "post")


def main() -> None:
    """Run the first stages up to the one named: `python -m benchmarks.stages FILE URL STAGE`."""
    parser = argparse.ArgumentParser(description="Run the stages of an import alone.")
    parser.add_argument("file")
    parser.add_argument("url")
    parser.add_argument("last", choices=STAGES)
    arguments = parser.parse_args()
    sys.stdout.write(f"{_run(Path(arguments.file), arguments.url, STAGES.index(arguments.last))} batches\n")


def _run(path: Path, url: str, last: int) -> int:
    preparer = EventPreparer()
    packer = BatchPacker(max_events=MAX_BATCH_EVENTS, max_bytes=MAX_BATCH_BYTES)
    now_ms = int(time.time() * 1000)
    session = requests.Session()
    batches = 0
    with path.open("rb") as file:
        for block in read_blocks(file, 0, -1):
            if last < STAGES.index("prepare"):
                continue
            events = preparer.prepare_block(EventBlock(block.data, str(path), block.offset), now_ms).events
            if last < STAGES.index("pack"):
                continue
            for batch in packer.add(events):
                batches += 1
                _send(batch.bodies, session, url, last)
    return batches


def _send(events: list[bytes], session: requests.Session, url: str, last: int) -> None:
    if last >= STAGES.index("encode"):
        body = encode_json(events)
    if last >= STAGES.index("gzip"):
        body = compress(body)
    if last >= STAGES.index("post"):
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        session.post(f"{url}/import?strict=1", data=body, headers=headers, timeout=60).raise_for_status()


if __name__ == "__main__":
    main()
