"""Runs `beam_mixpanel.pipelines.check_events`."""

from beam_mixpanel.pipelines.check_events import main

if __name__ == "__main__":
    main()
