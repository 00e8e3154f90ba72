"""The lock of a file: one engine at a time has it, and tells the others in it where it is.

Like the server's, this file imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pathlib

from . import files


@dataclasses.dataclass(frozen=True)
class Address:
    """Where the engine of a file is.

    :param pid: Its process id.
    :param started: When the process started.
    :param port: The port that it listens on.
    :param token: The secret by which it proves its identity.
    """

    pid: int
    started: int
    port: int
    token: str = dataclasses.field(repr=False)


def path_for(file: pathlib.Path) -> pathlib.Path:
    """The path of a file's lock.

    :param file: The file.
    """
    return file.with_name(f"{file.name}.lock")


def read(path: pathlib.Path) -> Address | None:
    """Read which engine has, or had, the lock.

    :param path: The lock's path.
    :return: Its address; ``None`` if there is none, or it is just being written.
    :raises OSError: if the lock cannot be read.
    """
    try:
        pid, started, port, token = json.loads(path.read_text(encoding="ascii"))
        return Address(int(pid), int(started), int(port), str(token))
    except (FileNotFoundError, TypeError, ValueError):
        return None


class Lock:
    """A lock that this process and its forks have.

    :param path: The lock's path.
    :param descriptor: The open file.
    """

    def __init__(self, path: pathlib.Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: pathlib.Path) -> Lock | None:
        """Take the lock, without waiting.

        :param path: The lock's path. The file is created if needed.
        :return: The lock; ``None`` if another process has it.
        :raises OSError: if the file cannot be created or locked.
        """
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            is_ours = False

            try:
                if not files.lock(descriptor):
                    return None

                # An engine that ends removes the file, perhaps between opening and locking it here.
                is_ours = files.is_at(path, descriptor)
            finally:
                if not is_ours:
                    os.close(descriptor)

            if is_ours:
                return cls(path, descriptor)

    def write(self, address: Address) -> None:
        """Tell where this engine is.

        :param address: Its address.
        :raises OSError: if it cannot be written.
        """
        content = json.dumps(dataclasses.astuple(address)).encode("ascii")
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)

        # A part of it would tell nobody anything, and the engine would keep the file for itself.
        if os.write(self._descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def remove(self) -> None:
        """Remove the file. The lock itself ends with the process."""
        # Windows does not remove a file that is open. It says where an engine was, which is gone.
        with contextlib.suppress(OSError):
            self._path.unlink()
