"""A lock for tasks that nobody waits for most of the time."""

from __future__ import annotations

import anyio


class Lock:
    """A lock for ``async with``.

    anyio's lets other tasks run whenever it is taken, which costs a turn of the event loop. Here
    the block itself waits for a call, so a lock that is free is taken at once. Tasks that wait get
    it in the order of their arrival.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = anyio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except anyio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *error: object) -> None:
        self._lock.release()
