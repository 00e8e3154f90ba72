"""What exports and imports consume, by a clock of the test's own, and what they say of it."""

from __future__ import annotations

import collections.abc as cabc
import json
import os
import pathlib
import signal
import time
import typing as t

import pytest
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute

from conftest import InApp
from dynamo_ext import Model
from dynamo_ext.cli.transfer import workers
from dynamo_ext.cli.transfer.budget import Budget
from dynamo_ext.cli.transfer.checkpoint import Pace
from dynamo_ext.cli.transfer.exporting import Export
from dynamo_ext.cli.transfer.failures import TransferError
from dynamo_ext.cli.transfer.importing import Import
from dynamo_ext.cli.transfer.importing import checkpoint_of
from dynamo_ext.cli.transfer.item_files import Source
from dynamo_ext.cli.transfer.progress import Meter
from dynamo_ext.cli.transfer.progress import Watch
from dynamo_ext.cli.transfer.progress import line
from dynamo_ext.cli.transfer.progress import shown
from dynamo_ext.cli.transfer.stopping import Stopped
from dynamo_ext.cli.transfer.stopping import Stopping
from dynamo_ext.cli.transfer.table import Table
from dynamo_ext.models import late_binding
from stub import Answer
from stub import Stub
from stub import unprocessed
from test_budget import Clock
from test_export_import import describe
from test_export_import import scanned
from test_export_import import things

pytestmark = pytest.mark.once(reason="what is consumed does not depend on the transport")

RATE = 20


class Thing(Model):
    class Meta:
        table_name = "thing"

    id = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(
    in_app: InApp, stub: Stub, stub_config: dict[str, t.Any], clock: Clock
) -> cabc.Iterator[Table]:
    """A table that one thread at a time reads or writes."""
    describe(stub)

    with in_app(stub_config, DYNAMODB_MAX_POOL_CONNECTIONS=1):
        yield Table(
            connection=late_binding.connection(Thing),
            budget=Budget(RATE, clock=clock, sleep=clock.sleep),
            sleep=clock.sleep,
            draw=lambda: 1.0,
        )


@pytest.fixture
def ctrl_c() -> cabc.Iterator[None]:
    """Ctrl-C raises, also where the tests run as a job in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_raised_when_all_threads_have_ended_and_not_before() -> None:
    """Raised at any point, it could leave a lock taken that the threads share with this one."""
    stopping = Stopping()
    ended: list[int] = []
    ticks: list[bool] = []

    def task() -> None:
        while not stopping.is_set():
            time.sleep(0.001)

        ended.append(1)
        raise Stopped

    def tick() -> None:
        if not ticks:
            for _ in range(20):
                os.kill(os.getpid(), signal.SIGINT)

        ticks.append(stopping.is_set())

    with pytest.raises(KeyboardInterrupt):
        workers.run([task, task], stopping=stopping, tick=tick)

    assert (len(ended), set(ticks)) == (2, {True})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_a_handler_of_the_app_stays() -> None:
    signal.signal(signal.SIGINT, handler := lambda number, frame: None)
    seen: list[object] = []
    workers.run(
        [lambda: None],
        stopping=Stopping(),
        tick=lambda: seen.append(signal.getsignal(signal.SIGINT)),
    )
    assert set(seen) == {handler}


def test_an_export_consumes_no_more_than_it_may(
    table: Table, clock: Clock, stub: Stub, tmp_path: pathlib.Path
) -> None:
    scanned(stub, pages=3, units=50)
    assert Export(table, tmp_path / "things.json").run() == 24
    # 24 pages; the last one is not paid for.
    assert clock.now - 1000 == pytest.approx(23 * 50 / RATE, abs=0.1)
    limits = [request.body["Limit"] for request in stub.requests if request.operation == "Scan"]
    # As many items as units at first; then as many as the page before suggests, and one at least.
    assert set(limits[0::3]) == {RATE}
    assert set(limits[1::3]) == {1}


def test_an_import_consumes_no_more_than_it_may(
    table: Table, clock: Clock, stub: Stub, tmp_path: pathlib.Path
) -> None:
    consumed = {"ConsumedCapacity": [{"TableName": table.name, "CapacityUnits": 50}]}
    stub.always("BatchWriteItem", Answer(body={"UnprocessedItems": {}, **consumed}))
    path = tmp_path / "things.json"
    path.write_text("".join(json.dumps({"Item": each}) + "\n" for each in things(100)))
    assert Import(table, [Source(path)], checkpoint_of(path)).run() == 100
    sizes = [
        len(requests)
        for request in stub.requests
        if request.operation == "BatchWriteItem"
        for requests in request.body["RequestItems"].values()
    ]
    # An item is taken for one unit at least.
    assert sizes == [RATE] * 5
    assert clock.now - 1000 == pytest.approx(4 * 50 / RATE, abs=0.1)


def test_items_that_stay_unprocessed_end_the_import(
    table: Table, stub: Stub, clock: Clock, tmp_path: pathlib.Path
) -> None:
    consumed = {"ConsumedCapacity": [{"TableName": table.name, "CapacityUnits": 0}]}
    stub.always(
        "BatchWriteItem", lambda request: Answer(body={**unprocessed(request).body, **consumed})
    )
    path = tmp_path / "things.json"
    path.write_text("".join(json.dumps({"Item": each}) + "\n" for each in things(1)))

    with pytest.raises(TransferError, match=r"too little capacity .* unprocessed again and again"):
        Import(table, [Source(path)], checkpoint_of(path)).run()

    assert stub.operations.count("BatchWriteItem") == 12
    # It waited longer and longer: 0.1 s, 0.2 s, ... and 20 s at the end.
    assert clock.now - 1000 == pytest.approx(sum(min(20, 0.05 * 2**n) for n in range(1, 12)))


def test_checkpoints_take_a_twentieth_of_the_time() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    assert pace.is_due

    with pace.measured():
        clock.now += 0.01

    clock.now += 0.19
    assert not pace.is_due
    clock.now += 0.02
    assert pace.is_due

    with pace.measured():
        clock.now += 3

    clock.now += 1.01
    assert pace.is_due


def test_without_a_terminal_there_is_a_line_every_five_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    meter = Meter(what="th\x1b[2Jing", unit="items", total=5000)

    with shown(meter, is_terminal=False, clock=clock):
        for _ in range(20):
            meter.advance(100, items=100)
            clock.now += 1
            meter.tick()

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        rf"th\x1b[2Jing: {each} items, {share}%, 100 items/s, {left} s left"
        for each, share, left in (
            ("500", 10, 45),
            ("1,000", 20, 40),
            ("1,500", 30, 35),
            ("2,000", 40, 30),
        )
    ]


def test_progress_tells_rate_and_time_left() -> None:
    clock = Clock()
    meter = Meter(what="thing", unit="items", total=5000, done=1000)
    watch = Watch(meter, clock=clock)
    assert line(meter, watch) == "thing: 0 items, 20%, 0 items/s"
    meter.advance(2000, items=2000)
    clock.now += 10
    assert line(meter, watch) == "thing: 2,000 items, 60%, 200 items/s, 10 s left"
    meter.advance(3000, items=3000)
    assert line(meter, watch) == "thing: 5,000 items, 100%, 500 items/s"
