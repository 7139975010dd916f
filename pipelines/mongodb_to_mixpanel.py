"""Runs `beam_mixpanel.pipelines.mongodb_to_mixpanel`."""

from beam_mixpanel.pipelines.mongodb_to_mixpanel import main

if __name__ == "__main__":
    main()
