"""An SDK worker that repeats requests sooner: what the tests' worker pool starts, in place of Beam's own command.

Beam's pool calls it as it would the boot program of a container. It is no test, and nothing imports it.
"""

from __future__ import annotations

import argparse
import json

from apache_beam.runners.worker.sdk_worker import SdkHarness

from beam_mixpanel.core.sending import backoff


def main() -> None:
    """Serve one job's bundles until its runner is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short_waits", type=json.loads, required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--control_endpoint", required=True)
    arguments, _ = parser.parse_known_args()
    for name, secs in arguments.short_waits.items():
        if not hasattr(backoff, name):
            raise SystemExit(f"core.backoff has no {name}")
        setattr(backoff, name, secs)
    SdkHarness(arguments.control_endpoint, worker_id=arguments.id).run()


if __name__ == "__main__":
    main()
