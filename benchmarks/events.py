"""Makes events to measure and to demonstrate with: varied, and the same for the same seed."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

_NAMES = ("Sign Up", "Page View", "Add to Cart", "Purchase", "Search", "Share", "Log In", "Play Video")
_BROWSERS = ("Chrome", "Safari", "Firefox", "Edge")
_CITIES = (("Paris", "FR"), ("Berlin", "DE"), ("São Paulo", "BR"), ("東京", "JP"), ("New York", "US"), ("Lagos", "NG"))
_PLANS = ("free", "starter", "premium", "enterprise")
_FIRST_TIME_MS = 1_750_000_000_000
_SPREAD_MS = 365 * 86_400_000


def generate(count: int, seed: int = 1, *, form: str = "ready") -> Iterator[bytes]:
    """Make events of about 375 bytes as lines of JSON.

    Args:
      count: how many.
      seed: the same events for the same seed.
      form: `ready` in Mixpanel's final form; `raw` without `$insert_id` and with times in seconds, as exports often
        hold them, so that every event must be rewritten; `mixed` half and half.
    """
    draw = random.Random(seed)
    encode = msgspec.json.Encoder().encode
    for number in range(count):
        properties = _properties(draw, number)
        if form == "ready" or (form == "mixed" and number % 2):
            properties["$insert_id"] = f"{draw.getrandbits(128):032x}"
        else:
            properties["time"] //= 1000
            properties["session"] = f"{draw.getrandbits(160):040x}"
        yield encode({"event": draw.choice(_NAMES), "properties": properties})


def _properties(draw: random.Random, number: int) -> dict[str, Any]:
    city, country = draw.choice(_CITIES)
    return {
        "time": _FIRST_TIME_MS + draw.randrange(_SPREAD_MS),
        "distinct_id": f"user-{draw.randrange(50_000):06d}",
        "$browser": draw.choice(_BROWSERS),
        "$city": city,
        "mp_country_code": country,
        "plan": draw.choice(_PLANS),
        "price": round(draw.random() * 200, 2),
        "quantity": draw.randrange(1, 9),
        "order": number,
        "url": f"https://shop.example.com/products/{draw.randrange(10**6)}?ref=mail",
        "tags": draw.sample(("new", "sale", "gift", "b2b"), 2),
        "beta": draw.random() < 0.5,
        "$screen_width": draw.choice((390, 1280, 1920)),
        "note": "x" * draw.randrange(10, 30),
    }


def write(file: IO[bytes], count: int, seed: int = 1, *, form: str = "ready") -> None:
    """Write events as NDJSON."""
    for event in generate(count, seed, form=form):
        file.write(event + b"\n")


def repeat(path: Path, copies: Path, times: int) -> None:
    """Write a file that holds another one several times.

    It is copied in pieces: a process that is started counts its parent's memory as its own.
    """
    with copies.open("wb") as out:
        for _ in range(times):
            with path.open("rb") as part:
                shutil.copyfileobj(part, out)


def main() -> None:
    """Write a file of events: `python -m benchmarks.events --count 100000 --output events.ndjson`."""
    parser = argparse.ArgumentParser(description="Write generated events as NDJSON.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--form", choices=("ready", "raw", "mixed"), default="ready")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    with Path(arguments.output).open("wb") as file:
        write(file, arguments.count, arguments.seed, form=arguments.form)
    sys.stdout.write(f"{arguments.count} events in {arguments.output}\n")


if __name__ == "__main__":
    main()
