"""How Hypothesis runs here: briefly, and a slow machine is no fault."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("core", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")
