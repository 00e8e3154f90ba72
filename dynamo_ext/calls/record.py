"""The record of each call: counted, logged, and announced by a signal.

A record never holds a key, a value or a credential.
"""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import time
import typing as t

import blinker
from flask.sansio.app import App
from pynamodb import constants
from pynamodb.exceptions import VerboseClientError

from ..call_site import Location
from ..concurrency import waiting
from ..errors import error_code
from ..printable import escaped

_logger = logging.getLogger("dynamo_ext.calls")

call_finished: blinker.NamedSignal = blinker.Namespace().signal(
    "dynamo-ext-call-finished",
    doc="Sent after each call to the server, with the app as sender and the record as ``call``.",
)

_CALLER_S_OWN = frozenset(
    {
        "ConditionalCheckFailedException",
        "ResourceInUseException",
        "ResourceNotFoundException",
        "TransactionCanceledException",
        "ValidationException",
    }
)


Sender = t.Literal["botocore", "direct"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """One call to the server, from its slot to its answer, with all attempts."""

    operation: str
    """DynamoDB's name of the operation, such as ``"GetItem"``."""

    model: str | None
    """The name of the model; ``None`` for a call on ``db.connection``."""

    table_name: str | None
    """The table; ``None`` where the operation has none or several."""

    attempts: int
    """How often the call was sent."""

    queue_seconds: float
    """How long the call waited for a slot, in seconds."""

    seconds: float
    """How long it took after that, with all attempts and the waits between them, in seconds."""

    consumed_capacity: float | None
    """Capacity units that the call consumed; ``None`` if DynamoDB did not say."""

    error: str | None
    """DynamoDB's error code, or else the name of the exception; ``None`` for a success."""

    transport: Sender | None = None
    """What sent the call: ``"botocore"``, or ``"direct"``; ``None`` if it was not sent."""

    bind_key: str | None = None
    """The key of the bind whose settings held; ``None`` for the app's own."""

    index_name: str | None = None
    """The index that was queried or scanned; ``None`` for the table itself."""

    items: int | None = None
    """How many items the answer has; ``None`` where the operation gives none."""

    location: Location | None = None
    """The place in the app's code that made the call. It is looked for where calls are recorded,
    which is in a request; ``None`` otherwise, and where no code of the app is found."""


class Progress:
    """A call that has not ended, or just has.

    :param operation: DynamoDB's name of the operation.
    :param model: The name of the model, if the call is for one.
    :param table_name: The table, if it is for one.
    :param bind_key: The key of the bind whose settings hold; ``None`` for the app's own.
    """

    # Not a dataclass: each call makes one, and an initialiser of so many parameters costs more than
    # all that a call is counted with.
    __slots__ = (
        "_call",
        "_consumed_capacity",
        "_items",
        "_reply",
        "attempts",
        "bind_key",
        "error",
        "has_slot",
        "index_name",
        "location",
        "model",
        "operation",
        "queue_seconds",
        "seconds",
        "start",
        "table_name",
        "transport",
    )

    def __init__(
        self, operation: str, model: str | None, table_name: str | None, bind_key: str | None
    ) -> None:
        self.operation: str = operation
        self.model: str | None = model
        self.table_name: str | None = table_name
        self.bind_key: str | None = bind_key
        self.attempts: int = 0
        self.transport: Sender | None = None
        self.index_name: str | None = None
        self.location: Location | None = None
        self.has_slot: bool = False
        self.queue_seconds: float = 0.0
        self.seconds: float = 0.0
        self.error: str | None = None
        self.start: float = time.monotonic()
        self._reply: dict[str, t.Any] | None = None
        self._consumed_capacity: float | None = None
        self._items: int | None = None
        self._call: Call | None = None

    def begin(self, queue_seconds: float) -> None:
        """Note that the call has a slot.

        :param queue_seconds: How long it waited for the slot, in seconds.
        """
        self.has_slot = True
        self.queue_seconds = queue_seconds
        self.start = time.monotonic()

        if (begun := _begun.get()) is not None and begun.operation == self.operation:
            _begun.set(None)
            self.queue_seconds, self.start = begun.queue_seconds, begun.start

    def end(self, reply: t.Any) -> None:
        """Note that the call was answered.

        :param reply: The parsed reply, a dictionary. A test's mock may reply with anything that
            PynamoDB accepts where it does not look at the reply.
        """
        self.seconds = time.monotonic() - self.start
        self._reply = reply if isinstance(reply, dict) else None

    def fail(self, error: BaseException) -> None:
        """Note that the call failed.

        :param error: What it raised.
        """
        self.seconds = time.monotonic() - self.start
        self.error = error_name(error)

    def drop_reply(self) -> None:
        """Read what the record says of the reply, and keep no item of it."""
        if self._reply is not None:
            self._consumed_capacity = _consumed_capacity(self._reply)
            self._items = _number_of_items(self.operation, self._reply)
            self._reply = None

    @property
    def call(self) -> Call:
        """The record of the call, which has ended. Most calls need none: nobody asks for it."""
        if self._call is None:
            self.drop_reply()
            self._call = Call(
                operation=self.operation,
                model=self.model,
                table_name=self.table_name,
                attempts=self.attempts,
                queue_seconds=self.queue_seconds,
                seconds=self.seconds,
                consumed_capacity=self._consumed_capacity,
                error=self.error,
                transport=self.transport,
                bind_key=self.bind_key,
                index_name=self.index_name,
                items=self._items,
                location=self.location,
            )

        return self._call


_in_progress: contextvars.ContextVar[Progress | None] = contextvars.ContextVar(
    "dynamo_ext.call", default=None
)


# A call that the next one of the same operation in this context goes on with.
_begun: contextvars.ContextVar[Progress | None] = contextvars.ContextVar(
    "dynamo_ext.begun_call", default=None
)


def resume(begun: Progress) -> None:
    """Make the record of the next call of this operation and context that of one that was begun
    elsewhere.

    :param begun: That call, which has its slot.
    """
    _begun.set(begun)


def announce(app: App | None, call: Call) -> None:
    """Send :data:`call_finished`. What its receivers raise is logged: the call has ended already.

    Receivers are code of the app, and so are handlers of log records: they run in a thread that may
    block.

    :param app: The sender of the signal.
    :param call: The record.
    """
    waiting.current.get().in_other_thread(lambda: _announce(app, call))


def _announce(app: App | None, call: Call) -> None:
    try:
        call_finished.send(app, call=call)
    except Exception:
        _logger.exception("A receiver of 'call_finished' raised an exception.")


def log(ended: Progress, slow_call_ms: float | None) -> None:
    """Log a call that failed or was slow.

    :param ended: The call.
    :param slow_call_ms: From how many milliseconds on a call is slow; ``None`` for never.
    """
    if ended.error is not None:
        level = logging.INFO if ended.error in _CALLER_S_OWN else logging.WARNING
        _write(level, "failed", ended)
    elif slow_call_ms is not None and ended.seconds * 1000 >= slow_call_ms:
        _write(logging.WARNING, "slow", ended)


def _write(level: int, what: str, ended: Progress) -> None:
    if _logger.isEnabledFor(level):
        call = ended.call
        waiting.current.get().in_other_thread(lambda: _write_here(level, what, call))


def _write_here(level: int, what: str, call: Call) -> None:
    _logger.log(
        level,
        "%s call: %s of %s,%s attempts=%d queue_ms=%.1f ms=%.1f capacity=%s error=%s",
        what,
        escaped(call.operation),
        escaped(call.model or call.table_name),
        "" if call.bind_key is None else f" bind={escaped(call.bind_key)}",
        call.attempts,
        call.queue_seconds * 1000,
        call.seconds * 1000,
        call.consumed_capacity,
        escaped(call.error),
        extra={"dynamodb_call": call},
    )


def _consumed_capacity(reply: dict[str, t.Any]) -> float | None:
    """The capacity units in a reply, of all tables together."""
    parts: t.Any = reply.get(constants.CONSUMED_CAPACITY)

    if parts is None:
        return None

    if isinstance(parts, dict):
        parts = [parts]

    return t.cast(float, sum(part.get(constants.CAPACITY_UNITS, 0) for part in parts))


def _number_of_items(operation: str, reply: dict[str, t.Any]) -> int | None:
    """How many items a reply has."""
    if operation == constants.GET_ITEM:
        return int(constants.ITEM in reply)

    if isinstance(count := reply.get(constants.CAMEL_COUNT), int):
        return count

    found: t.Any = reply.get(constants.RESPONSES)

    if isinstance(found, dict):
        return sum(len(items) for items in t.cast("dict[str, list[t.Any]]", found).values())

    if isinstance(found, list):
        return sum(constants.ITEM in each for each in t.cast("list[dict[str, t.Any]]", found))

    return None


def attempted(number: int) -> None:
    """Note how often the current call was sent.

    :param number: The number of the attempt, from 1.
    """
    if (progress := _in_progress.get()) is not None:
        progress.attempts = number


def sent_by(transport: Sender) -> None:
    """Note what sends the current call.

    :param transport: The name of the transport.
    """
    if (progress := _in_progress.get()) is not None:
        progress.transport = transport


class InProgress:
    """Follows the call that a ``with`` block makes.

    :param operation: DynamoDB's name of the operation.
    :param model: The name of the model, if the call is for one.
    :param table_name: The table, if it is for one.
    :param bind_key: The key of the bind whose settings hold; ``None`` for the app's own.
    """

    # A class and not a generator: each call passes here, and this is several times as fast.
    __slots__ = ("_progress", "_token")

    def __init__(
        self,
        operation: str,
        model: str | None,
        table_name: str | None = None,
        bind_key: str | None = None,
    ) -> None:
        self._progress = Progress(operation, model, table_name, bind_key)

    def __enter__(self) -> Progress:
        self._token = _in_progress.set(self._progress)
        return self._progress

    def __exit__(self, *error: object) -> None:
        _in_progress.reset(self._token)


def error_name(error: BaseException) -> str:
    """DynamoDB's error code, or else the name of the exception.

    :param error: What a call or an attempt raised.
    """
    if isinstance(error, VerboseClientError):
        return error_code(error) or "Unknown"

    return type(error).__name__
