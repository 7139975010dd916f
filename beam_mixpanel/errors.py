"""What this package raises; no message holds a secret, or a value of an event or row."""

from __future__ import annotations


class MixpanelError(Exception):
    """Base of what this package raises."""


class ImportRefusedError(MixpanelError):
    """Mixpanel refuses every request: credentials, project, plan or host are wrong."""


class UndeliveredError(MixpanelError):
    """Mixpanel did not confirm a batch within the retry deadline."""


class ClosedError(MixpanelError):
    """The client was closed while a batch waited to be sent; says why."""


class CredentialsError(MixpanelError):
    """A reference to credentials cannot be resolved, or what it names has the wrong form."""


class DatabaseError(MixpanelError):
    """The database cannot do what was asked; to ask again would not help."""


class LostConnectionError(DatabaseError):
    """There is no connection, or no longer; to try again may help."""


class LostSnapshotError(DatabaseError):
    """The snapshot that the readers share has ended with the connection that held it."""


class UnreadableFileError(MixpanelError):
    """A file cannot be read to its end, so its events cannot be accounted for."""
