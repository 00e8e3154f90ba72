"""The wait of a task for a slot."""

from __future__ import annotations

import threading

from aiologic.lowlevel import create_async_event

from dynamo_ext.calls.pool import Pool
from dynamo_ext.calls.slot import Slot


async def wait_for_slot(pool: Pool, timeout: float) -> Slot:
    """Wait in this task for a slot, in the same line as threads. A cancelled wait takes none.

    :param pool: The pool.
    :param timeout: Longest wait, in seconds.
    :return: The slot, to be used as that of :meth:`Pool.acquire`.
    :raises PoolTimeout: if none became free in time.
    :raises CallTimeout: if the call's deadline came first.
    """
    with pool.place(timeout, create_async_event, threading.get_ident()) as place:
        if not place.is_served:
            place.is_served = await place.event.with_(place.seconds)

    return place.slot
