"""The exceptions of this package: one tree, ordered by what you do next.

Catch a branch to act on it, or a leaf to tell causes apart; docs/errors.md says what to do about each. No message holds
a secret, or a value of an event or row. A wrong argument is a plain `ValueError` or `TypeError`, as everywhere in
Python.

What is not in `__all__` is handled inside: it becomes a dead letter, another error, or a line of the command.
"""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "ConfigurationError",
    "CredentialsError",
    "CsvHeaderError",
    "DatabaseError",
    "EventNotImportedError",
    "IncrementalError",
    "InputError",
    "LostConnectionError",
    "LostSnapshotError",
    "MappingError",
    "MixpanelError",
    "NothingImportedError",
    "RefusedError",
    "TransientError",
    "UndeliveredError",
    "UnreadableFileError",
    "UserFunctionError",
]


class MixpanelError(Exception):
    """Base of what this package raises."""


# Correct what you wrote, and run again.


class ConfigurationError(MixpanelError):
    """What you wrote is wrong or does not fit its surroundings: correct it, and run again."""


class MappingError(ConfigurationError, ValueError):
    """A mapping does not fit itself or the columns."""


class CsvHeaderError(ConfigurationError, ValueError):
    """The names of a CSV file's columns cannot be used: correct the header, or give the names."""


class UserFunctionError(ConfigurationError, ValueError):
    """A function that you named cannot be found or loaded."""


class IncrementalError(ConfigurationError, ValueError):
    """The cursor column, its bounds or the state of a recurring job do not fit each other."""


class CredentialsError(ConfigurationError):
    """A reference to a secret cannot be resolved where it is needed, or what it names has the wrong form."""


class UsageError(ConfigurationError):
    """The arguments of a command are wrong."""


# Correct or replace the input, and run again.


class InputError(MixpanelError):
    """The input cannot be read or imported as it is: correct or replace it, and run again."""


class UnreadableFileError(InputError):
    """A file cannot be read to its end, so its events cannot be accounted for."""


class UnknownFormatError(InputError, ValueError):
    """Neither the name nor the first bytes of a file show its format, or it is one that is not supported."""


class DamagedJsonError(InputError, ValueError):
    """The text is not JSON from some place on."""


class UnsupportedValueError(InputError, TypeError):
    """A value of a type that has no JSON form here.

    Args:
      detail: its type and what to do, never the value.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(f"a value has no JSON form: {detail}")
        self.detail = detail


class DatabaseError(InputError):
    """The database refuses what was asked, and would refuse it again."""


class EventNotImportedError(InputError):
    """An event cannot be imported, and the pipeline consumes no dead letters."""


class NothingImportedError(InputError):
    """A job read no event, or imported none of those that it read."""


# Correct it at Mixpanel.


class RefusedError(MixpanelError):
    """Mixpanel refuses every request: the credentials, project, plan or host are wrong."""


# Run again as it is.


class TransientError(MixpanelError):
    """What is at fault may be over by now: run again as it is; what was imported already is not duplicated."""


class UndeliveredError(TransientError):
    """Mixpanel did not confirm a batch within the retry deadline."""


class LostConnectionError(TransientError):
    """A database cannot be reached, or no longer."""


class LostSnapshotError(TransientError):
    """The snapshot that the readers of a database share has ended with the connection that held it."""


class NoAnswerError(TransientError):
    """A request ended without a whole answer; whether the server acted on it is not known.

    Attributes:
      reason: short and stable: `timeout`, `connection_failed`, `connection_lost` or `tls_failed`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TurnMissedError(TransientError):
    """The server accepts nothing, and the deadline of a request that waits for its turn is over."""


# Do nothing: somebody ended it.


class ClosedError(MixpanelError):
    """The client was closed while a batch waited to be sent."""
