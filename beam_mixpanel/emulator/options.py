"""Everything that can be chosen when the emulator starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

LOOPBACK_HOSTS = ("127.0.0.1", "::1")
ID_MERGES = ("simplified", "original")
MAX_LIMIT = 10**15  # far beyond any real limit, and exact as a float

SECRET_VARIABLES = {
    "service_account": "MIXPANEL_EMULATOR_SERVICE_ACCOUNT",
    "project_token": "MIXPANEL_EMULATOR_PROJECT_TOKEN",
    "project_secret": "MIXPANEL_EMULATOR_PROJECT_SECRET",
    "bearer_token": "MIXPANEL_EMULATOR_BEARER_TOKEN",
}


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Rate limits; None switches one off.

    Attributes:
      rate_limit: events per second that refill the token bucket.
      rate_limit_burst: events the bucket holds; one second's worth unless given.
      rolling_limit: events accepted in any window of rolling_window_secs.
      rolling_window_secs: Mixpanel's own window is a rolling minute.

    Source: https://docs.mixpanel.com/reference/rate-limits
    """

    rate_limit: float | None = None
    rate_limit_burst: float | None = None
    rolling_limit: int | None = None
    rolling_window_secs: float = 60.0

    def __post_init__(self) -> None:
        """Refuse limits that could not let anything through."""
        for name in ("rate_limit", "rate_limit_burst", "rolling_limit", "rolling_window_secs"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_LIMIT:
                shown = str(value)[:40]
                raise ValueError(f"{name} must be a positive number up to 1e15, or None for no limit, not {shown}")


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """What kind of project the emulator shows.

    Attributes:
      id_merge: "simplified" (of organisations since April 2024) or "original".
      as_sent: keep each accepted event as it was sent, rather than as Mixpanel would show it.

    Source: https://docs.mixpanel.com/docs/tracking-methods/id-management
    """

    id_merge: str = "simplified"
    as_sent: bool = False

    def __post_init__(self) -> None:
        """Refuse what is not a kind of project."""
        if self.id_merge not in ID_MERGES:
            raise ValueError(f"id_merge must be 'simplified' or 'original', not {str(self.id_merge)[:40]!r}")
        if not isinstance(self.as_sent, bool):
            raise ValueError(f"as_sent must be true or false, not {str(self.as_sent)[:40]!r}")  # noqa: TRY004


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """What the emulator listens on, believes and limits.

    Attributes:
      host: 127.0.0.1 or ::1; the emulator is not meant to be reached from elsewhere.
      port: 0 takes any free port.
      service_account: "user:secret". With any of the four credentials set, only those set are accepted;
        with none, any non-empty credential is.
      project_id: with a service account, the only project_id it may import into.
      id_merge: "simplified" accepts a missing distinct_id and no identity events; "original" the reverse.
      as_sent: keep accepted events as they were sent, rather than as Mixpanel would show them (see `effects.py`).
      max_body_bytes: bound on the uncompressed body; of the documented "10MB" the stricter reading.
      latency_ms: added to every answer of the ingestion endpoints.
      storage: an empty or missing directory that keeps the events after the end; None is temporary storage.
      record_bodies: also keep the bodies of recent requests, for tests.
      clock: seconds since the epoch; tests pass their own.

    Source: https://docs.mixpanel.com/reference/import-events
    """

    host: str = "127.0.0.1"
    port: int = 0
    service_account: str | None = None
    project_id: str | None = None
    project_token: str | None = None
    project_secret: str | None = None
    bearer_token: str | None = None
    id_merge: str = "simplified"
    as_sent: bool = False
    max_body_bytes: int = 10_000_000
    latency_ms: float = 0.0
    rate_limit: float | None = None
    rate_limit_burst: float | None = None
    rolling_limit: int | None = None
    rolling_window_secs: float = 60.0
    storage: str | Path | None = None
    record_bodies: bool = False
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Refuse what the emulator could not honour."""
        if self.host not in LOOPBACK_HOSTS:
            raise ValueError(f"host must be {' or '.join(LOOPBACK_HOSTS)} (loopback only), not {self.host!r}")
        if self.service_account is not None and not all(self.service_account.partition(":")):
            raise ValueError("service_account must be written as username:secret")
        if self.max_body_bytes <= 0 or self.latency_ms < 0:
            raise ValueError("max_body_bytes must be positive and latency_ms must not be negative")
        self.limits()
        self.project()

    def project(self) -> ProjectSettings:
        """Return the kind of project that holds until it is changed."""
        return ProjectSettings(id_merge=self.id_merge, as_sent=self.as_sent)

    def limits(self) -> LimitSettings:
        """Return the rate limits that hold until they are changed."""
        return LimitSettings(**{field.name: getattr(self, field.name) for field in fields(LimitSettings)})

    def __repr__(self) -> str:
        """Name the address only: the rest may hold secrets."""
        return f"EmulatorOptions(host={self.host!r}, port={self.port})"


def secrets_from(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials that environment variables set, so that none need be on a command line."""
    return {name: environment[variable] for name, variable in SECRET_VARIABLES.items() if environment.get(variable)}
