"""The file of an embedded engine: a journal of what its tables hold.

The first line names the kind and the format of the file. Each further line is one record: the
CRC-32 of its text, and the text, which is JSON. A line is written by one request, and holds all
that this request has changed, so a request is kept as a whole or not at all.

Like the server's, this file imports nothing but the standard library: the launcher reads it, too.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import os
import pathlib
import sys
import typing as t
import zlib

from . import files

FORMAT = 1
_KIND = b"dynamo-ext tables, format "
_HEADER = _KIND + b"%d\n" % FORMAT
# Longer than the first line of any format.
_LONGEST_HEADER = 64
_BINARY = getattr(os, "O_BINARY", 0)
# No file has this descriptor. That of a closed file may be another one's by now.
_CLOSED = -1


class RefusedFile(ValueError):
    """A file that is left alone. The message says why, and what would be right."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """The damaged end of a file, which was cut off.

    :param offset: Where it began, in bytes.
    :param size: Its size, in bytes.
    """

    offset: int
    size: int


def check(path: pathlib.Path) -> None:
    """Check that a file is a journal that this release can read, or does not exist yet.

    :param path: The file.
    :raises RefusedFile: if it is of another kind or of a newer format.
    :raises OSError: if it cannot be read.
    """
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        _check_header(path, file.read(_LONGEST_HEADER))


def _check_header(path: pathlib.Path, start: bytes) -> bool:
    """Whether a file has its whole header. One that was not wholly written is no header."""
    if len(start) < len(_HEADER) and _HEADER.startswith(start):
        return False

    first_line = start.partition(b"\n")[0]
    number = first_line.removeprefix(_KIND)

    if number == first_line or not number.isdigit():
        raise RefusedFile(
            f"{str(path)!r} is not a file of the embedded engine. It is left as it is; name another"
            " file, which need not exist yet."
        )

    if int(number) != FORMAT:
        raise RefusedFile(
            f"{str(path)!r} has format {int(number)}, and this release of dynamo-ext reads format"
            f" {FORMAT}. It is left as it is; install the release that has written it, or a newer"
            " one."
        )

    return True


class Journal:
    """An open file. One process at a time may have it open.

    Each record is handed to the operating system before :meth:`append` returns, so it survives the
    end of any process. It survives the end of the machine from the next :meth:`sync` on.

    :param path: The file, which is created if needed.
    :raises RefusedFile: if it is of another kind or of a newer format.
    :raises OSError: if it cannot be opened or written to.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.damage: Damage | None = None
        check(path)
        self._size = 0
        self._descriptor = _open(path)

    def read(self) -> cabc.Iterator[bytes]:
        """Read all records from the start; cut off a damaged end.

        What was cut off is in :attr:`damage` when the last record has been read.

        :return: The texts of the records.
        :raises RefusedFile: if a damaged record is followed by a whole one: that is not the end.
        :raises OSError: if the file cannot be read, or its end cannot be cut off.
        """
        self.damage = None

        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            header = file.readline(_LONGEST_HEADER)
            self._size = len(header) if _check_header(self.path, header) else 0

            if self._size:
                yield from self._read_records(file)

        self._cut_end()

        if self._size == 0:
            self._write(_HEADER)

    def append(self, text: str) -> None:
        """Add a record.

        :param text: JSON, ASCII in one line.
        :raises OSError: if it cannot be written, or if the file was removed or replaced. The file
            is as it was before.
        """
        if not files.is_at(self.path, self._descriptor):
            raise FileNotFoundError(f"{str(self.path)!r} was removed or replaced")

        self._write(_line(text.encode("ascii")))

    def rewrite(self, texts: cabc.Iterable[str]) -> None:
        """Put a new file with these records in the place of this one, in one step.

        :param texts: The records.
        :raises OSError: if this fails. The file is as it was before, and takes further records.
        """
        new = self.path.with_name(f"{self.path.name}.new")

        try:
            size = self._write_new(new, texts)
            self._replace_by(new)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)

            raise

        self._size = size

        # If the power fails before, the old file is back, which holds the same. Then comes `sync`.
        with contextlib.suppress(OSError):
            files.sync_folder(self.path.parent)

    def sync(self) -> None:
        """Wait until the records are on the disk, and the folder's entry of the file.

        :raises OSError: if this fails.
        """
        os.fsync(self._descriptor)
        files.sync_folder(self.path.parent)

    def close(self) -> None:
        """Close the file. Afterwards, writes are refused with an :exc:`OSError`."""
        descriptor, self._descriptor = self._descriptor, _CLOSED

        if descriptor != _CLOSED:
            os.close(descriptor)

    def _write_new(self, new: pathlib.Path, texts: cabc.Iterable[str]) -> int:
        """Write a whole new file, to the disk; return its size."""
        with new.open("wb") as file:
            os.chmod(new, os.fstat(self._descriptor).st_mode & 0o777)
            file.write(_HEADER)
            file.writelines(_line(text.encode("ascii")) for text in texts)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    if sys.platform == "win32":

        def _replace_by(self, new: pathlib.Path) -> None:
            # Windows replaces no file that is open. Unless it is opened again, writes are refused.
            self.close()

            try:
                os.replace(new, self.path)
            finally:
                self._descriptor = _open(self.path)

    else:

        def _replace_by(self, new: pathlib.Path) -> None:
            """Nothing that may fail comes after the moment at which the old file is replaced."""
            descriptor = _open(new)

            try:
                os.replace(new, self.path)
            except BaseException:
                os.close(descriptor)
                raise

            old, self._descriptor = self._descriptor, descriptor

            # All that the old file holds was read, so an error of it does not matter any more.
            with contextlib.suppress(OSError):
                os.close(old)

    def _read_records(self, file: t.BinaryIO) -> cabc.Iterator[bytes]:
        for line in file:
            if (text := _text(line)) is None:
                break

            self._size += len(line)
            yield text

        for line in file:
            if _text(line) is not None:
                raise RefusedFile(
                    f"{str(self.path)!r} is damaged at byte {self._size}, but whole records follow,"
                    " which would be lost if its end were cut off there. It is left as it is."
                    " Restore it from a copy; or, to give up all that follows, shorten it to"
                    f" {self._size} bytes."
                )

    def _cut_end(self) -> None:
        size = os.fstat(self._descriptor).st_size

        if size > self._size:
            self.damage = Damage(self._size, size - self._size)
            os.ftruncate(self._descriptor, self._size)

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._descriptor).st_size

        if size < self._size:
            raise OSError(f"{str(self.path)!r} was shortened by another program")

        # An earlier write may have failed halfway, and so may the attempt to undo it.
        if size > self._size:
            os.ftruncate(self._descriptor, self._size)

        try:
            rest = memoryview(line)

            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)

            raise

        self._size += len(line)


def _open(path: pathlib.Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)


def _line(text: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _text(line: bytes) -> bytes | None:
    """The text of a line; ``None`` if the line is damaged."""
    text = line[9:-1]
    return text if line == _line(text) else None
