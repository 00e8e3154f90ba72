"""What the person at the terminal has to know instead of a traceback."""

from __future__ import annotations


class Failure(Exception):
    """It can't go on; the message says why."""
