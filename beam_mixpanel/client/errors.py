"""The few exceptions that may end a job."""

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
