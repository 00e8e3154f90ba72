"""What ends a transfer, as a message for its user."""

from __future__ import annotations

import pathlib


class TransferError(Exception):
    """A transfer can't begin or go on. The message says what to do."""


class WrongUsage(TransferError):
    """What the user has asked for is not clear."""


class InvalidFile(TransferError):
    """A file to be imported has a line that is not an item of the table.

    :param path: The file.
    :param line: The line's number, from 1 on.
    :param reason: What is wrong with it.
    """

    def __init__(self, path: pathlib.Path, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason
