"""Runs `beam_mixpanel.pipelines.sql_to_mixpanel`."""

from beam_mixpanel.pipelines.sql_to_mixpanel import main

if __name__ == "__main__":
    main()
