"""Runs `beam_mixpanel.pipelines.pubsub_to_mixpanel`."""

from beam_mixpanel.pipelines.pubsub_to_mixpanel import main

if __name__ == "__main__":
    main()
