"""How far a transfer has got, in a file beside its own, so that the same command can go on."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import sys
import time
import typing as t

from ...local import files
from .failures import TransferError

Content = dict[str, t.Any]

_VERSION = 1
_SHARE_OF_TIME = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class Checkpoint:
    """The file. It is replaced as a whole, so that it is there in one state or in another.

    :param path: Where it is.
    :param kind: What kind of transfer it is of.
    """

    def __init__(self, path: pathlib.Path, kind: str) -> None:
        self.path = path
        self._kind = kind

    def read(self) -> Content | None:
        """Read what was written last.

        :return: ``None`` if there is no such file.
        :raises TransferError: if the file is of another kind.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None

        content: t.Any = None

        try:
            content = json.loads(text)
            is_known = (content["kind"], content["version"]) == (self._kind, _VERSION)
        except (ValueError, TypeError, KeyError):
            is_known = False

        if not is_known:
            raise TransferError(
                f"{self.path} is not the checkpoint of an {self._kind} of this version. Move it"
                " away to begin anew."
            )

        return t.cast(Content, content)

    def check_table(self, found: cabc.Mapping[str, t.Any], table: cabc.Mapping[str, t.Any]) -> None:
        """Check that a checkpoint is of the same table.

        :param found: What tells its table from others.
        :param table: What tells the table from others that is transferred now.
        :raises TransferError: if it is another one.
        """
        for name, value in table.items():
            if found.get(name) != value:
                raise TransferError(
                    f"{self.path} is of an unfinished {self._kind} with another table: its {name}"
                    f" is {found.get(name)!r}, not {value!r}. Finish that one first, name another"
                    " file, or move the checkpoint away."
                )

    def write(self, content: cabc.Mapping[str, t.Any]) -> None:
        """Replace what was written last. It is on the disk when this returns.

        :param content: Anything that JSON can hold.
        """
        text = json.dumps({"kind": self._kind, "version": _VERSION, **content}).encode()
        new = self.path.with_name(f"{self.path.name}.new")

        with new.open("wb") as file:
            file.write(text)
            sync(file)

        new.replace(self.path)
        files.sync_folder(self.path.parent)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


class Pace:
    """When to write the next checkpoint: as soon as it takes no more than a twentieth of the time,
    and after a second at the latest.

    :param clock: Returns a time in seconds.
    """

    def __init__(self, *, clock: cabc.Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._clock() >= self._next

    @contextlib.contextmanager
    def measured(self) -> cabc.Generator[None]:
        """Write a checkpoint in this block."""
        begin = self._clock()
        yield
        end = self._clock()
        self._next = end + min(_LONGEST_PAUSE_SECONDS, (end - begin) / _SHARE_OF_TIME)


def sync(file: t.IO[bytes]) -> None:
    """Write to the disk what was written to a file.

    :param file: The file.
    """
    file.flush()
    os.fsync(file.fileno())


if sys.platform == "win32":

    def lock(file: t.IO[bytes]) -> bool:
        # There, a lock would also keep this process from reading the file by another name.
        return True

else:

    def lock(file: t.IO[bytes]) -> bool:
        """Keep other processes from a file until it is closed.

        The operating system forgets the lock with the process, however that ends.

        :param file: The file.
        :return: Whether no other process has the lock.
        """
        return files.lock(file.fileno())
