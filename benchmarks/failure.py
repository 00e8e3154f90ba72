"""The error that the command prints without a traceback."""

from __future__ import annotations


class Failure(Exception):
    """The command can't continue. The message says why."""
