"""Errors that are the user's to mend: shown as one line, never as a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Says what was given, what was expected and what to do. The program ends with exit code 1."""
