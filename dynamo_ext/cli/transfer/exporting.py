"""Export: a parallel scan of one table into one file."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import dataclasses
import datetime
import functools
import gzip
import json
import math
import pathlib
import queue
import threading
import typing as t

from ...local import files
from ...models.item_json import Raw
from ...models.item_json import decode_values
from ...models.item_json import encode_value
from . import workers
from .checkpoint import Checkpoint
from .checkpoint import Pace
from .checkpoint import lock
from .checkpoint import sync
from .checkpoint import whole_number
from .failures import TransferError
from .item_lines import encode
from .places import PART
from .progress import Meter
from .stopping import Stopped
from .table import Page
from .table import Table

SEGMENTS: t.Final = 8
_KIND = "export"


@dataclasses.dataclass(kw_only=True)
class Segment:
    """What is left of one segment of the scan."""

    index: int
    start_key: Raw | None = None
    is_done: bool = False

    def to_json(self) -> Raw:
        """The segment, for a checkpoint."""
        key = None if self.start_key is None else json.loads(encode_value(self.start_key))
        return {"start_key": key, "is_done": self.is_done}

    @classmethod
    def from_json(cls, index: int, content: Raw) -> t.Self:
        """The segment of a checkpoint.

        :param index: Which segment.
        :param content: What :meth:`to_json` has returned.
        """
        is_done = content["is_done"]
        start_key: Raw | None = None

        if not isinstance(is_done, bool):
            raise TypeError

        if content["start_key"] is not None:
            if not isinstance(content["start_key"], dict):
                raise TypeError

            start_key = t.cast(Raw, content["start_key"])
            decode_values(start_key)

        return cls(index=index, start_key=start_key, is_done=is_done)


@dataclasses.dataclass(kw_only=True)
class State:
    """How far an export has got. What a checkpoint says is in the file, and nothing more is."""

    table: Raw
    began: str
    segments: list[Segment]
    offset: int = 0
    items: int = 0

    def to_json(self) -> Raw:
        """The state, for a checkpoint."""
        return {**vars(self), "segments": [segment.to_json() for segment in self.segments]}

    @classmethod
    def from_json(cls, content: Raw) -> t.Self:
        """The state of a checkpoint.

        :param content: What the checkpoint holds.
        :raises ValueError: if it is not what :meth:`to_json` has returned; likewise ``TypeError``
            and ``KeyError``.
        """
        segments = [Segment.from_json(*each) for each in enumerate(content["segments"])]

        if not segments:
            raise ValueError

        return cls(
            table=dict(content["table"]),
            began=str(content["began"]),
            segments=segments,
            offset=whole_number(content["offset"]),
            items=whole_number(content["items"]),
        )

    @property
    def is_done(self) -> bool:
        """Whether the whole table is in the file."""
        return all(segment.is_done for segment in self.segments)


def part_of(path: pathlib.Path) -> pathlib.Path:
    """Where an export is until it is complete.

    :param path: Where it is then.
    """
    return path.with_name(f"{path.name}{PART}")


def checkpoint_of(path: pathlib.Path) -> Checkpoint:
    """The checkpoint of an export.

    :param path: Where the export is when it is complete.
    """
    return Checkpoint(path.with_name(f"{path.name}.checkpoint"), _KIND, unfinished=part_of(path))


class Export:
    """An export of one table, begun now or earlier.

    :param table: The table.
    :param path: The file. It appears when it is complete, and replaces one that is there.
    :param keeps_checkpoint: Whether the checkpoint stays beside the complete file, so that
        :func:`is_complete` knows the file.
    :param segments: How many segments to scan; of an export begun earlier, its own number.
    :param pace: When to write a checkpoint.
    :raises TransferError: if an unfinished export is there that is of another table.
    """

    def __init__(
        self,
        table: Table,
        path: pathlib.Path,
        *,
        keeps_checkpoint: bool = False,
        segments: int = SEGMENTS,
        pace: Pace | None = None,
    ) -> None:
        self._table = table
        self._path = path
        self._checkpoint = checkpoint_of(path)
        self._keeps_checkpoint = keeps_checkpoint
        self._description = table.describe()
        found = self._find_state()
        self.resumed_from: str | None = None if found is None else found.began
        """When it began, if that was earlier."""

        self._state = found or self._new_state(segments)
        self._pace = Pace() if pace is None else pace
        self._lock = threading.Lock()
        self._is_intact = True
        self.meter: Meter = Meter(
            what=table.name,
            unit="items",
            done=self._state.items,
            total=t.cast(int, self._description.get("ItemCount", 0)),
        )

    def run(self) -> int:
        """Export what is not exported yet.

        :return: How many items are in the file.
        :raises TransferError: if the file can't be continued, or another process is at it.
        """
        if self.resumed_from is None:
            # First: with the checkpoint of an earlier export, a new file would not be understood.
            self._checkpoint.write(self._state.to_json())

        with part_of(self._path).open("ab") as file:
            self._prepare(file)

            try:
                self._scan(file)
            finally:
                if self._is_intact:
                    self._write_checkpoint(file)

        part_of(self._path).replace(self._path)
        files.sync_folder(self._path.parent)

        if not self._keeps_checkpoint:
            self._checkpoint.remove()

        return self._state.items

    def _find_state(self) -> State | None:
        state = self._checkpoint.read(State.from_json)

        if state is None:
            if part_of(self._path).exists():
                raise TransferError(
                    f"{part_of(self._path)} is there, but its checkpoint"
                    f" {self._checkpoint.path.name} is not. Move it away to begin anew."
                )

            return None

        if state.is_done and not part_of(self._path).exists():
            # It is of a complete export, which is to be replaced.
            return None

        self._checkpoint.check_table(state.table, self._table.identity(self._description))
        return state

    def _new_state(self, segments: int) -> State:
        return State(
            table=self._table.identity(self._description),
            began=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            segments=[Segment(index=index) for index in range(segments)],
        )

    def _prepare(self, file: t.IO[bytes]) -> None:
        """Cut off what was written after the last checkpoint."""
        if not lock(file):
            raise TransferError(f"Another process is writing {part_of(self._path)}.")

        size = file.seek(0, 2)

        if size < self._state.offset:
            raise TransferError(
                f"{part_of(self._path)} is shorter than its checkpoint says. Move it and"
                f" {self._checkpoint.path} away to begin anew."
            )

        file.truncate(self._state.offset)
        file.seek(0, 2)

    def _scan(self, file: t.IO[bytes]) -> None:
        segments: queue.SimpleQueue[Segment] = queue.SimpleQueue()

        for segment in self._state.segments:
            segments.put(segment)

        count = max(1, min(len(self._state.segments), self._table.slots))
        task = functools.partial(self._scan_segments, segments, file, count)
        workers.run([task] * count, stopping=self._table.stopping, tick=self.meter.tick)

        if self._path.suffix == ".gz" and not self._state.offset:
            # Without a member, it would not be a file of gzip.
            self._state.offset = file.write(gzip.compress(b"", mtime=0))

    def _scan_segments(
        self, segments: queue.SimpleQueue[Segment], file: t.IO[bytes], count: int
    ) -> None:
        share = self._budget_of_page(count)

        while True:
            try:
                segment = segments.get_nowait()
            except queue.Empty:
                return

            limit = None if share is None else max(1, math.floor(share))

            while not segment.is_done:
                page = self._table.scan(
                    segment=segment.index,
                    segments=len(self._state.segments),
                    start_key=segment.start_key,
                    limit=limit,
                )
                self._add(file, segment, page)
                limit = None if share is None else _limit_of_next(page, share)

    def _budget_of_page(self, count: int) -> float | None:
        """How many units a page may consume, so that all threads together don't exceed a second's
        units by much."""
        units = self._table.budget.units_per_second
        return None if units is None else units / count

    def _add(self, file: t.IO[bytes], segment: Segment, page: Page) -> None:
        content = encode(page.items)

        if content and self._path.suffix == ".gz":
            # Each page is a member of its own, so that the file can be cut behind each.
            content = gzip.compress(content, compresslevel=6, mtime=0)

        with self._lock, self._writing():
            file.write(content)
            self._state.offset += len(content)
            self._state.items += len(page.items)
            segment.start_key, segment.is_done = page.last_key, page.last_key is None

            if self._pace.is_due:
                self._write_checkpoint(file)

        self.meter.advance(len(page.items), items=len(page.items))

    @contextlib.contextmanager
    def _writing(self) -> cabc.Generator[None]:
        """Write to the file in this block. If that fails, it is not known what the file holds, and
        the last checkpoint is the one that counts: no other may follow."""
        if not self._is_intact:
            raise Stopped

        self._is_intact = False
        yield
        self._is_intact = True

    def _write_checkpoint(self, file: t.IO[bytes]) -> None:
        """Say what is in the file, after it is on the disk."""
        with self._pace.measured():
            sync(file)
            self._checkpoint.write(self._state.to_json())


def is_complete(table: Table, path: pathlib.Path) -> bool:
    """Whether a file is a complete export of a table, by the checkpoint that was left beside it.

    :param table: The table.
    :param path: The file.
    :raises TransferError: if the checkpoint is damaged.
    """
    state = checkpoint_of(path).read(State.from_json)
    return (
        state is not None
        and state.is_done
        and not part_of(path).exists()
        and state.offset == path.stat().st_size
        and state.table == table.identity(table.describe())
    )


def _limit_of_next(page: Page, units: float) -> int:
    """How many items the next page may have, so that it consumes about as much as allowed.

    :param page: The page before.
    :param units: The capacity units that are allowed.
    """
    if not page.scanned or not page.units:
        return max(1, math.floor(units))

    return max(1, math.floor(units * page.scanned / page.units))
