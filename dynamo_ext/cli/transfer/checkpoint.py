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
T = t.TypeVar("T")

_VERSION = 1
_SHARE_OF_TIME = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class Checkpoint:
    """The file. It is replaced as a whole, so that it is there in one state or in another.

    :param path: Where it is.
    :param kind: What kind of transfer it is of.
    :param unfinished: The unfinished file that it describes, if there is one.
    """

    def __init__(
        self, path: pathlib.Path, kind: str, *, unfinished: pathlib.Path | None = None
    ) -> None:
        self.path = path
        self._kind = kind
        self._unfinished = unfinished

    def read(self, parse: cabc.Callable[[Content], T]) -> T | None:
        """Read what was written last.

        :param parse: Takes what was written. A ``KeyError``, ``TypeError`` or ``ValueError`` of it
            says that this is damaged.
        :return: What it returns; ``None`` if there is no such file.
        :raises TransferError: if the file can't be read, is damaged, or of another kind or version.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(f"can't be read ({error.strerror})") from error

        try:
            content: t.Any = json.loads(text)
            written_by = content["kind"], content["version"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._unusable("is damaged, or not a checkpoint") from None

        if written_by != (self._kind, _VERSION):
            raise self._unusable(f"is not the checkpoint of an {self._kind} of this version")

        try:
            return parse(content)
        except (ValueError, TypeError, KeyError):
            raise self._unusable("is damaged") from None

    def _unusable(self, reason: str) -> TransferError:
        unfinished = "" if self._orphan is None else f" and {self._orphan}"
        return TransferError(f"{self.path} {reason}. Move it{unfinished} away to begin anew.")

    @property
    def _orphan(self) -> pathlib.Path | None:
        """What can't be continued without this checkpoint."""
        path = self._unfinished
        return path if path is not None and path.exists() else None

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


def whole_number(value: t.Any) -> int:
    """A count or a position in a checkpoint.

    :param value: What the checkpoint holds.
    :raises ValueError: if it is no such number.
    """
    if type(value) is not int or value < 0:
        raise ValueError

    return value


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
