"""Reading files of items, compressed or not, line by line."""

from __future__ import annotations

import base64
import collections.abc as cabc
import dataclasses
import gzip
import hashlib
import pathlib
import typing as t
import zlib

from ...models.item_json import InvalidItem
from ...models.item_json import KeySchema
from ...models.item_json import Raw
from .failures import InvalidFile
from .failures import TransferError
from .item_lines import decode

_MAGIC_OF_GZIP = b"\x1f\x8b"
_MAX_LINE_BYTES = 16 * 1024 * 1024
"""More than any item needs: 400 KB, in which each byte may take several characters of JSON."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A file with items, and what is known of it."""

    path: pathlib.Path
    items: int | None = None
    """How many items it should hold."""

    md5: str | None = None
    """The digest that it should have, in base64."""

    @property
    def identity(self) -> list[t.Any]:
        """What changes if the file does, for a checkpoint."""
        status = self.path.stat()
        return [self.path.name, status.st_size, status.st_mtime_ns]

    def check_digest(self) -> None:
        """Check that the file is the one that was written.

        :raises TransferError: if it is damaged.
        """
        if self.md5 is None:
            return

        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()

        if base64.b64encode(digest).decode() != self.md5:
            raise TransferError(
                f"{self.path} is damaged: its MD5 is not the one in 'manifest-files.json'. Download"
                " it again."
            )

    def check_count(self, count: int) -> None:
        """Check that the file holds as many items as it should.

        :param count: How many it holds.
        :raises TransferError: if it should hold another number.
        """
        if self.items is not None and count != self.items:
            raise TransferError(
                f"{self.path} holds {count} items, but {self.items} by 'manifest-files.json'."
                " Download it again."
            )


class Line(t.NamedTuple):
    """An item of a file."""

    number: int
    """From 1 on."""

    item: Raw
    size: int
    """In bytes."""


class Reader:
    """Reads a file once.

    :param path: The file. Whether it is compressed is seen by its first bytes.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.position: int = 0
        """How much of the file was read, in bytes of the file."""

    def lines(self, *, after: int = 0) -> cabc.Generator[tuple[int, bytes]]:
        """Read the lines that are not blank.

        :param after: How many lines to skip.
        :return: Each line with its number, from 1 on.
        :raises InvalidFile: if the compressed data are damaged, or a line is too long.
        """
        number = 0

        with self._path.open("rb") as file:
            magic = file.read(len(_MAGIC_OF_GZIP))
            file.seek(0)
            content = gzip.GzipFile(fileobj=file) if magic == _MAGIC_OF_GZIP else file

            try:
                while line := content.readline(_MAX_LINE_BYTES):
                    number += 1
                    self.position = file.tell()

                    if len(line) == _MAX_LINE_BYTES:
                        raise InvalidFile(self._path, number, "it is longer than any item.")

                    if number > after and not line.isspace():
                        yield number, line
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InvalidFile(
                    self._path, number + 1, f"the compressed data are cut or damaged ({error})."
                ) from error

    def items(self, schema: KeySchema, *, after: int = 0) -> cabc.Generator[Line]:
        """Read the items.

        :param schema: What the table demands of them.
        :param after: How many lines to skip.
        :raises InvalidFile: if a line is not such an item.
        """
        for number, line in self.lines(after=after):
            try:
                yield Line(number, decode(line, schema), len(line))
            except InvalidItem as error:
                raise InvalidFile(self._path, number, str(error)) from None


def begins_with_item(path: pathlib.Path, schema: KeySchema) -> bool:
    """Whether a file may be an export of a table: its first line is an item, or it is empty.

    :param path: The file.
    :param schema: What the table demands.
    """
    try:
        next(Reader(path).items(schema), None)
    except InvalidFile:
        return False

    return True
