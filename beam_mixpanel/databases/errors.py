"""What can go wrong with a database; no message holds a password or a row's value."""

from __future__ import annotations

from beam_mixpanel.client.errors import MixpanelError


class DatabaseError(MixpanelError):
    """The database cannot do what was asked; to ask again would not help."""


class LostConnectionError(DatabaseError):
    """There is no connection, or no longer; to try again may help."""


class LostSnapshotError(DatabaseError):
    """The snapshot that the readers share has ended with the connection that held it."""
