"""The jobs of `beam_mixpanel.pipelines` under shorter names, for a clone; not installed."""
