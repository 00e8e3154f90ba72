"""How much capacity a transfer may consume, by what DynamoDB says that it has consumed."""

from __future__ import annotations

import collections.abc as cabc
import threading
import time

_LONGEST_SLEEP_SECONDS = 0.5
_LEAST_SECONDS = 0.001


class Budget:
    """Capacity units per second, shared by all threads of a transfer.

    What a request consumes is known after it. So a request may begin whenever nothing is owed,
    and what it has consumed is then paid for by waiting.

    :param units_per_second: The capacity units; ``None`` for no limit.
    :param clock: Returns a time in seconds.
    :param sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        units_per_second: float | None = None,
        *,
        clock: cabc.Callable[[], float] = time.monotonic,
        sleep: cabc.Callable[[float], None] = time.sleep,
    ) -> None:
        self.units_per_second = units_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._paid_at = clock()
        self._owed = 0.0

    def wait(self, *, is_over: cabc.Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing is owed.

        :param is_over: Whether to wait no longer.
        """
        while not is_over() and (seconds := self._seconds_owed()) > _LEAST_SECONDS:
            self._sleep(min(seconds, _LONGEST_SLEEP_SECONDS))

    def spend(self, units: float) -> None:
        """Note what a request has consumed.

        :param units: Capacity units.
        """
        with self._lock:
            self._pay()
            self._owed += units

    def _seconds_owed(self) -> float:
        if self.units_per_second is None:
            return 0.0

        with self._lock:
            self._pay()
            return self._owed / self.units_per_second

    def _pay(self) -> None:
        """Pay with the time that has passed. Time in which nothing is owed can't be saved."""
        now = self._clock()
        self._owed = max(0.0, self._owed - (now - self._paid_at) * (self.units_per_second or 0))
        self._paid_at = now
