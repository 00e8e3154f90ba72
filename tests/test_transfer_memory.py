"""What exports and imports keep in memory: as much for a large table as for a small one."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import gc
import gzip
import json
import pathlib
import tracemalloc
import typing as t

import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute

import engines
from conftest import InApp
from dynamo_ext import Model
from dynamo_ext.cli.transfer import places
from dynamo_ext.cli.transfer.budget import Budget
from dynamo_ext.cli.transfer.exporting import Export
from dynamo_ext.cli.transfer.importing import Import
from dynamo_ext.cli.transfer.importing import checkpoint_of
from dynamo_ext.cli.transfer.stopping import Stopping
from dynamo_ext.cli.transfer.table import Table
from dynamo_ext.models import late_binding

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="what the files' side keeps does not depend on the transport"),
]

SMALL, LARGE = 200, 1200
# An item takes some 700 bytes here, and a reference to a pair of its own 80 at least.
MOST_GROWTH = (LARGE - SMALL) * 60


class Thing(Model):
    class Meta:
        table_name = "thing"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


@pytest.fixture
def table(in_app: InApp, dynoxide: str) -> cabc.Iterator[Table]:
    """A table that one thread at a time reads or writes, in small pages and batches."""
    with in_app(engines.config(dynoxide), DYNAMODB_MAX_POOL_CONNECTIONS=1):
        Thing.create_table(wait=True)
        yield Table(connection=late_binding.connection(Thing), budget=Budget())


def peak(work: cabc.Callable[[], t.Any]) -> int:
    """How many bytes some work takes at once, at most, beyond what is there."""
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    work()
    return tracemalloc.get_traced_memory()[1] - before


def write(path: pathlib.Path, numbers: cabc.Iterable[int]) -> None:
    with gzip.open(path, "wt") as file:
        for number in numbers:
            item = {"id": {"S": f"id{number}"}, "number": {"N": str(number)}}
            file.write(json.dumps({"Item": item}) + "\n")


def of_s3(folder: pathlib.Path, count: int) -> pathlib.Path:
    """A folder of DynamoDB's own export to S3, with four files."""
    (folder / "data").mkdir(parents=True)
    entries: list[dict[str, t.Any]] = []

    for number in range(4):
        name = f"data/{number}.json.gz"
        write(folder / name, range(number, count, 4))
        entries.append({"itemCount": len(range(number, count, 4)), "dataFileS3Key": name})

    (folder / "manifest-files.json").write_text("\n".join(map(json.dumps, entries)))
    return folder


def test_a_table_of_any_size_takes_the_same_memory(table: Table, tmp_path: pathlib.Path) -> None:
    def import_from(path: pathlib.Path, count: int) -> None:
        (sources,) = places.sources(path, ["thing"], every=["thing"]).values()
        transfer = Import(
            dataclasses.replace(table, stopping=Stopping()), sources, checkpoint_of(path)
        )
        transfer.check()
        assert transfer.run() == count

    def export(count: int) -> None:
        # A page has an item at first, and then 4 KB.
        budget = Budget(1, sleep=lambda seconds: None, clock=iter(range(10**9)).__next__)
        again = dataclasses.replace(table, budget=budget, stopping=Stopping())
        assert Export(again, tmp_path / f"{count}-export.json.gz", segments=1).run() == count

    peaks: dict[int, list[int]] = {}
    tracemalloc.start()

    try:
        # The first time, modules are loaded and caches filled.
        for count in (50, SMALL, LARGE):
            write(file := tmp_path / f"{count}.json.gz", range(count))
            folder = of_s3(tmp_path / f"s3-{count}", count)
            peaks[count] = [
                peak(lambda: import_from(file, count)),  # noqa: B023
                peak(lambda: import_from(folder, count)),  # noqa: B023
                peak(lambda: export(count)),  # noqa: B023
            ]
    finally:
        tracemalloc.stop()

    grown = [large - small for small, large in zip(peaks[SMALL], peaks[LARGE], strict=True)]
    assert max(grown) < MOST_GROWTH, peaks
