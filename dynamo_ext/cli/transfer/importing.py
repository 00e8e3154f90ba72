"""Import: the items of files into one table, in parallel batches."""

from __future__ import annotations

import collections
import collections.abc as cabc
import dataclasses
import functools
import math
import pathlib
import queue
import threading
import typing as t

from botocore.exceptions import ClientError

from ...errors import error_code
from ...models.item_json import KeySchema
from ...models.item_json import Raw
from . import workers
from .checkpoint import Checkpoint
from .checkpoint import Pace
from .checkpoint import whole_number
from .failures import InvalidFile
from .item_files import Line
from .item_files import Reader
from .item_files import Source
from .progress import Meter
from .stopping import Stopped
from .stopping import Stopping
from .table import Table

WRITERS: t.Final = 8
BATCH: t.Final = 25
"""How many items DynamoDB takes in one request."""

_KIND = "import"
_INVALID = "ValidationException"
_QUEUED_BATCHES = 2
_QUEUE_SECONDS = 0.2
_BYTES_PER_UNIT = 1024
_LARGEST_BATCH_UNITS = 1024
"""A megabyte. Larger batches are not written faster, but several of each writer are in memory."""

Position = tuple[int, int]
"""The index of a file, and the number of a line in it."""


@dataclasses.dataclass(frozen=True)
class State:
    """How far an import has got."""

    table: Raw
    files: list[t.Any]
    """What changes if the files do."""

    written: Position
    """The last line up to which everything is written."""

    def to_json(self) -> Raw:
        """The state, for a checkpoint."""
        return vars(self)

    @classmethod
    def from_json(cls, content: Raw) -> t.Self:
        """The state of a checkpoint.

        :param content: What the checkpoint holds.
        :raises ValueError: if it is not what :meth:`to_json` has returned; likewise ``TypeError``
            and ``KeyError``.
        """
        files = list(content["files"])
        file, line = map(whole_number, content["written"])

        if file >= len(files):
            raise ValueError

        return cls(table=dict(content["table"]), files=files, written=(file, line))


@dataclasses.dataclass
class Batch:
    """Items with different keys."""

    items: dict[cabc.Hashable, Raw] = dataclasses.field(default_factory=dict[cabc.Hashable, Raw])
    """The items, by what identifies their keys."""

    positions: list[Position] = dataclasses.field(default_factory=list[Position])
    units: int = 0
    """What they consume, by an estimate."""

    def add(self, identity: cabc.Hashable, position: Position, line: Line) -> None:
        """Add an item.

        :param identity: What identifies its key.
        :param position: Where it is.
        :param line: The item.
        """
        self.items[identity] = line.item
        self.positions.append(position)
        self.units += math.ceil(line.size / _BYTES_PER_UNIT)


@dataclasses.dataclass
class Shard:
    """The items that one writer writes: all those of a key, so that they are written in order."""

    filling: Batch = dataclasses.field(default_factory=Batch)
    batches: queue.Queue[Batch | None] = dataclasses.field(
        default_factory=lambda: queue.Queue[Batch | None](_QUEUED_BATCHES)
    )
    """What is to be written; ``None`` at the end."""

    unwritten: collections.deque[Position] = dataclasses.field(
        default_factory=collections.deque[Position]
    )
    """The first line of each batch that is not written yet, the oldest first."""

    @property
    def oldest(self) -> Position | None:
        """The oldest line that is not written; ``None`` if there is none."""
        if self.unwritten:
            return self.unwritten[0]

        return self.filling.positions[0] if self.filling.positions else None


def checkpoint_of(path: pathlib.Path) -> Checkpoint:
    """The checkpoint of an import.

    :param path: The file or folder that is imported.
    """
    # Also "." has a name then.
    path = path.resolve()
    return Checkpoint(path.with_name(f"{path.name}.import-checkpoint"), _KIND)


class Import:
    """An import into one table, begun now or earlier.

    :param table: The table.
    :param sources: The files.
    :param checkpoint: Where to note how far it has got.
    :param writers: How many requests to send at once, at most.
    :param pace: When to write a checkpoint.
    :raises TransferError: if an unfinished import is there that is into another table.
    """

    def __init__(
        self,
        table: Table,
        sources: cabc.Sequence[Source],
        checkpoint: Checkpoint,
        *,
        writers: int = WRITERS,
        pace: Pace | None = None,
    ) -> None:
        self._table = table
        self._sources = sources
        self._checkpoint = checkpoint
        description = table.describe()
        self._schema = KeySchema.of(description)
        self._table_identity = table.identity(description)
        self._files = [source.identity for source in sources]
        found = self._find_state()
        self.has_changed_files: bool = found is not None and found.files != self._files
        """Whether it begins anew, because the files are not those with which it was begun."""

        # What was written of them is written again.
        self._written: Position = (
            (0, 0) if found is None or self.has_changed_files else found.written
        )
        self._read_to = self._written
        self.is_resumed: bool = self._written != (0, 0)
        """Whether it was begun earlier."""

        self.without_checkpoint: OSError | None = None
        """Why it can't be resumed: its files may be where nobody may write."""

        self._shards = [Shard() for _ in range(max(1, min(writers, table.slots)))]
        units = table.budget.units_per_second
        self._units_of_batch = min(
            _LARGEST_BATCH_UNITS, math.inf if units is None else units / len(self._shards)
        )
        self._lock = threading.Lock()
        self._checkpoint_lock = threading.Lock()
        self._checking_stops = Stopping()
        self._pace = Pace() if pace is None else pace
        size = sum(source.path.stat().st_size for source in sources)
        self.checking: Meter = Meter(what=f"{table.name}, checking", unit="bytes", total=size)
        self.writing: Meter = Meter(what=table.name, unit="bytes", total=size)

    def check(self) -> None:
        """Read all files, and write nothing.

        :raises TransferError: if one is not what it should be. An invalid line is named.
        """
        workers.run([self._check], stopping=self._checking_stops, tick=self.checking.tick)

    def run(self) -> int:
        """Write what is not written yet.

        :return: How many items were written.
        :raises InvalidFile: if DynamoDB refuses an item.
        :raises TransferError: if DynamoDB leaves items unprocessed, time after time.
        """
        self._write_checkpoint()
        writers = [functools.partial(self._write_batches, shard) for shard in self._shards]

        try:
            workers.run(
                [self._read, *writers], stopping=self._table.stopping, tick=self.writing.tick
            )
        except BaseException:
            self._write_checkpoint()
            raise

        self._checkpoint.remove()
        return self.writing.items

    def _find_state(self) -> State | None:
        state = self._checkpoint.read(State.from_json)

        if state is not None:
            self._checkpoint.check_table(state.table, self._table_identity)

        return state

    def _check(self) -> None:
        for source in self._sources:
            source.check_digest()
            reader, count, position = Reader(source.path), 0, 0

            for _ in reader.items(self._schema):
                _stop_if_told(self._checking_stops)
                count += 1
                self.checking.advance(reader.position - position, items=1)
                position = reader.position

            source.check_count(count)

    def _read(self) -> None:
        """Hand the items to the writers."""
        first_file, first_line = self._written

        for index, source in enumerate(self._sources[first_file:], first_file):
            reader, position = Reader(source.path), 0

            for line in reader.items(self._schema, after=first_line if index == first_file else 0):
                self._add((index, line.number), line)
                self.writing.advance(reader.position - position, items=0)
                position = reader.position

        for shard in self._shards:
            self._queue_filling(shard)
            self._put(shard, None)

    def _add(self, position: Position, line: Line) -> None:
        identity = self._schema.identity(line.item)
        shard = self._shards[hash(identity) % len(self._shards)]

        if self._is_full(shard.filling) or identity in shard.filling.items:
            self._queue_filling(shard)

        with self._lock:
            shard.filling.add(identity, position, line)
            self._read_to = position

    def _is_full(self, batch: Batch) -> bool:
        return len(batch.items) == BATCH or batch.units >= self._units_of_batch

    def _queue_filling(self, shard: Shard) -> None:
        if not shard.filling.items:
            return

        with self._lock:
            batch, shard.filling = shard.filling, Batch()
            shard.unwritten.append(batch.positions[0])

        self._put(shard, batch)

    def _put(self, shard: Shard, batch: Batch | None) -> None:
        while True:
            _stop_if_told(self._table.stopping)

            try:
                shard.batches.put(batch, timeout=_QUEUE_SECONDS)
            except queue.Full:
                continue

            return

    def _write_batches(self, shard: Shard) -> None:
        while (batch := self._next(shard)) is not None:
            self._write(batch)

            with self._lock:
                shard.unwritten.popleft()

            self.writing.advance(0, items=len(batch.items))

            with self._checkpoint_lock:
                if self._pace.is_due:
                    self._write_checkpoint()

    def _next(self, shard: Shard) -> Batch | None:
        while True:
            _stop_if_told(self._table.stopping)

            try:
                return shard.batches.get(timeout=_QUEUE_SECONDS)
            except queue.Empty:
                continue

    def _write(self, batch: Batch) -> None:
        try:
            self._table.put(batch.items.values())
        except ClientError as error:
            if not _is_invalid(error):
                raise

            self._write_each(batch)

    def _write_each(self, batch: Batch) -> None:
        """Find the item for which DynamoDB refuses a whole batch."""
        for item, (file, number) in zip(batch.items.values(), batch.positions, strict=True):
            try:
                self._table.put([item])
            except ClientError as error:
                if not _is_invalid(error):
                    raise

                raise InvalidFile(
                    self._sources[file].path, number, f"DynamoDB refuses the item: {error}"
                ) from error

    def _write_checkpoint(self) -> None:
        with self._lock:
            oldest = [shard.oldest for shard in self._shards]
            unwritten = [position for position in oldest if position is not None]
            file, line = min(unwritten, default=None) or _next_line(self._read_to)

        state = State(self._table_identity, self._files, (file, line - 1))

        try:
            with self._pace.measured():
                self._checkpoint.write(state.to_json())
        except OSError as error:
            self.without_checkpoint = error


def _next_line(position: Position) -> Position:
    file, line = position
    return file, line + 1


def _is_invalid(error: ClientError) -> bool:
    return error_code(error) == _INVALID


def _stop_if_told(stopping: Stopping) -> None:
    if stopping.is_set():
        raise Stopped
