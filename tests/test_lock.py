"""The lock of an iterator that several tasks share."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from dynamo_ext_async.models.lock import Lock

pytestmark = [pytest.mark.anyio, pytest.mark.once(reason="no call is sent")]


class Tasks:
    """Tasks that take a lock, one after the other."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.served: list[str] = []

    async def take(self, name: str) -> None:
        async with self.lock:
            self.served.append(name)
            await anyio.sleep(0)
            # Nobody else has it meanwhile.
            assert self.served[-1] == name

    async def is_free(self) -> bool:
        with anyio.move_on_after(5):
            await self.take("last")

        return self.served[-1] == "last"


async def test_tasks_get_it_in_the_order_of_their_arrival() -> None:
    tasks = Tasks()

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(tasks.take, name)
            await anyio.wait_all_tasks_blocked()

    assert tasks.served == [*"abc"]
    assert await tasks.is_free()


async def test_who_is_cancelled_while_it_waits_does_not_get_it() -> None:
    tasks = Tasks()

    async with anyio.create_task_group() as group, tasks.lock:
        with anyio.CancelScope() as scope:
            group.start_soon(tasks.take, "before")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await tasks.take("cancelled")

        group.start_soon(tasks.take, "after")
        await anyio.wait_all_tasks_blocked()

    assert tasks.served == ["before", "after"]
    assert await tasks.is_free()


async def test_an_error_gives_it_back() -> None:
    tasks = Tasks()

    with pytest.raises(ZeroDivisionError):
        async with tasks.lock:
            raise ZeroDivisionError

    assert await tasks.is_free()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_is_cancelled_when_it_gets_it_passes_it_on() -> None:
    tasks = Tasks()

    async with tasks.lock:
        cancelled = asyncio.create_task(tasks.take("cancelled"))
        after = asyncio.create_task(tasks.take("after"))
        await anyio.wait_all_tasks_blocked()

    # It has the lock, and does not know that yet.
    cancelled.cancel()
    await asyncio.wait([cancelled, after], timeout=5)
    assert cancelled.cancelled()
    assert tasks.served == ["after"]
    assert await tasks.is_free()
