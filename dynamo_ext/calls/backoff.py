"""The wait between two attempts of a call, which leaves its slot to other calls."""

from __future__ import annotations

import typing as t

from ..concurrency import waiting
from . import slot as slots
from .line import Line
from .line import Place


def wait(seconds: float) -> None:
    """Wait without the slot of the current call, and take one again.

    The call queues again like a new one: behind those that wait already, and as long.

    :param seconds: How long, in seconds.
    :raises PoolTimeout: if no slot becomes free in time after that.
    :raises CallTimeout: if the call's deadline comes first.
    """
    waits, slot = waiting.current.get(), next(slots.held(), None)

    if slot is None or not slot.has_permit or not seconds:
        waits.sleep(seconds)
        return

    line = t.cast(Line, slot.origin)
    slot.untake(line.take_back)
    waits.sleep(seconds)

    with Place(line, slot, waits.event) as place:
        if not place.is_served:
            place.is_served = place.event.wait(place.seconds)
