"""What is asked of the operating system about a file.

Like the server's, this file imports nothing but the standard library.
"""

from __future__ import annotations

import os
import pathlib
import sys

if sys.platform == "win32":
    import msvcrt

    # Beyond the content: Windows lets nobody read what is locked.
    _LOCKED_BYTE = 2**30

    def lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False

        return True

    def sync_folder(folder: pathlib.Path) -> None:
        """Windows has nothing like it."""

else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock a file, without waiting. The lock ends with the process and its forks.

        :param descriptor: The open file.
        :return: Whether it is locked now. If not, another process has the lock.
        :raises OSError: if the file cannot be locked at all, as on some network drives.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False

        return True

    def sync_folder(folder: pathlib.Path) -> None:
        """Wait until the disk has which files a folder holds. Windows has nothing like it.

        :param folder: The folder.
        :raises OSError: if this fails.
        """
        descriptor = os.open(folder, os.O_RDONLY)

        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_at(path: pathlib.Path, descriptor: int) -> bool:
    """Whether an open file is the one at a path, and was not removed or replaced.

    :param path: The path.
    :param descriptor: The open file.
    :raises OSError: if that cannot be found out.
    """
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
