"""The largest values that settings may have work: the operating system takes them, too."""

from __future__ import annotations

import concurrent.futures
import time
import typing as t

import anyio
import pytest
from pynamodb.attributes import UnicodeAttribute

import stub as stubs
from conftest import InApp
from dynamo_ext_async import Model
from stub import Stub
from threads import in_same_app
from waiting import until

pytestmark = pytest.mark.wire

LIMITS: dict[str, t.Any] = {
    "DYNAMODB_CONNECT_TIMEOUT_SECONDS": 2147483,
    "DYNAMODB_READ_TIMEOUT_SECONDS": 2147483,
    "DYNAMODB_POOL_TIMEOUT_SECONDS": 2147483,
    "DYNAMODB_CALL_TIMEOUT_SECONDS": 2147483,
    "DYNAMODB_SLOW_CALL_MS": 2147483647,
    "DYNAMODB_MAX_RETRY_ATTEMPTS": 1_000_000,
    # One waits for the other's slot.
    "DYNAMODB_MAX_POOL_CONNECTIONS": 1,
    "DYNAMODB_BASE_BACKOFF_MS": 0,
}


class Book(Model):
    class Meta:
        table_name = "book"

    id = UnicodeAttribute(hash_key=True)


def hold_the_first_call(stub: Stub) -> None:
    stub.next("GetItem", stubs.held(stub._usual), stubs.INTERNAL_ERROR)


def test_calls_in_threads(in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    hold_the_first_call(stub)

    with in_app(stub_config | LIMITS) as db, concurrent.futures.ThreadPoolExecutor(2) as threads:
        pool = db.pool
        calls = [threads.submit(in_same_app(Book.get), "a") for _ in range(2)]
        stub.wait_for(lambda: stub.in_flight == 1)

        while not pool.waiting:
            time.sleep(0.001)

        stub.release()
        assert [call.result().id for call in calls] == ["a", "a"]


@pytest.mark.anyio
async def test_awaited_calls(in_app: InApp, stub: Stub, stub_config: dict[str, t.Any]) -> None:
    hold_the_first_call(stub)
    found: list[str] = []

    async def get() -> None:
        found.append((await Book.aget("a")).id)

    with in_app(stub_config | LIMITS) as db:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get)
            tasks.start_soon(get)

            await until(lambda: stub.in_flight == 1 and db.pool.waiting == 1)
            stub.release()

    assert found == ["a", "a"]
