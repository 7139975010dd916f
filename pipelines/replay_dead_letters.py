"""Runs `beam_mixpanel.pipelines.replay_dead_letters`."""

from beam_mixpanel.pipelines.replay_dead_letters import main

if __name__ == "__main__":
    main()
