"""How the threads of a transfer are told to stop."""

from __future__ import annotations


class Stopped(Exception):
    """The transfer was told to stop."""


class Stopping:
    """Tells tasks to stop.

    It has no lock, unlike :class:`threading.Event`: a signal handler may set it at any point.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Tell them."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether they are told."""
        return self._is_set
