"""`python -m beam_mixpanel`: the command `beam-mixpanel`."""

from beam_mixpanel.cli.__main__ import main

if __name__ == "__main__":
    main(prog_name="beam-mixpanel")
