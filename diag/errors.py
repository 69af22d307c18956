"""Errors that a user can act upon; anything else that escapes is a bug in diag."""


class DiagError(Exception):
    """Something the user can mend. ``hint`` says how, and fits the facts at hand."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(DiagError):
    """The command line asks for something that cannot be meant (exit code 2)."""

    exit_code = 2


class MalformedError(ValueError):
    """A source no longer has the form we know: becomes a Gap, never a guess."""


class NotRecordedError(OSError):
    """A replay was asked for something the recording does not hold: becomes a Gap."""
