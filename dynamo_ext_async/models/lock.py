"""A lock for tasks that nobody waits for most of the time."""

from __future__ import annotations

import collections

import anyio


class Lock:
    """A lock for ``async with``, of tasks of one event loop.

    anyio's lets other tasks run whenever it is taken, which costs a turn of the event loop. Here
    the block itself waits for a call, so a lock that is free is taken at once. It is also created
    in no time, as each query and batch does. Tasks that wait get it in the order of their arrival.
    """

    __slots__ = ("_is_taken", "_waiting")

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: collections.deque[anyio.Event] = collections.deque()

    async def __aenter__(self) -> None:
        if not self._is_taken:
            self._is_taken = True
            return

        turn = anyio.Event()
        self._waiting.append(turn)

        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._pass_on()
            else:
                self._waiting.remove(turn)

            raise

    async def __aexit__(self, *error: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        """Give the lock to who has waited longest, if anybody waits."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._is_taken = False
