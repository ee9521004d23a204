"""Errors that several parts know."""

from __future__ import annotations


class UserError(Exception):
    """The user can mend it: says what was given, what was expected and what to do.

    Shown as one line, never as a traceback; the program ends with exit code 1.
    """


class RefusedError(Exception):
    """A charge point refused what was asked, or did not do it."""


class AbsurdAnswerError(RefusedError):
    """A charge point's answer has the right form, and makes no sense."""
