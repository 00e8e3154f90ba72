"""How long to wait before a failed call is sent again.

botocore's standard mode decides *whether* to retry, and keeps its quota. This module decides
*when*: full jitter over ``base * 2**n``, for throttling too. botocore has no option for the base.

The rules are AWS's: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

from __future__ import annotations

import collections.abc as cabc
import json
import random
import typing as t

import botocore.client
from botocore.retries import standard

from ..errors import DamagedReply
from ..errors import PoolTimeout
from . import backoff
from . import deadline
from . import observation
from . import record
from . import uncertain

MAX_BACKOFF_SECONDS = 20
MAX_EXTRA_SECONDS_OF_SERVER = 5
_RETRY_AFTER = "x-amz-retry-after"
_EVENT = "needs-retry.dynamodb"
_UNIQUE_ID = "retry-config-dynamodb"
_ON_CLIENT = "dynamo_ext_retry"


class Damaged(dict[str, t.Any]):
    """Stands for the content of a reply that is damaged. Such a call is sent again.

    :param reason: What is wrong with the reply.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def install(client: botocore.client.BaseClient, *, max_attempts: int, base_ms: int) -> Retry:
    """Give a client this project's back-off.

    :param client: A DynamoDB client whose retry mode is ``standard``.
    :param max_attempts: How often a call is sent at most, the first time included.
    :param base_ms: The base of the back-off, in milliseconds.
    :return: The back-off, which is registered at the client.
    """
    events = client.meta.events
    # botocore gives no access to its handler, so create a second one and wrap it. Registering an
    # id that is registered already is silently ignored, so unregister both first.
    events.unregister(_EVENT, unique_id=_UNIQUE_ID)
    decision = standard.register_retry_handler(client, max_attempts)
    events.unregister(_EVENT, unique_id=_UNIQUE_ID)
    retry = Retry(decision.needs_retry, base_ms)
    retry.release_quota = t.cast(t.Any, decision)._retry_quota.release_retry_quota
    # The stubs say that handlers return nothing; this event is there for what they return.
    handler = t.cast("cabc.Callable[..., None]", retry.wait_for_retry)
    events.register(_EVENT, handler, unique_id=_UNIQUE_ID)
    setattr(client, _ON_CLIENT, retry)
    return retry


def forbid_repetition(client: botocore.client.BaseClient) -> None:
    """Let a client raise :exc:`WriteOutcomeUnknown` also in calls that the app makes on it itself.

    Apps share clients, and such a call does not say which app it is for: the strictest app counts.

    :param client: A client that was given to :func:`install`.
    """
    t.cast(Retry, getattr(client, _ON_CLIENT)).may_repeat = False


class Retry:
    """botocore's decision with this project's back-off.

    :param decide: botocore's handler. It returns a delay if the call is to be sent again.
    :param base_ms: The base of the back-off, in milliseconds.
    :param draw: Returns a random number from 0 up to 1.
    """

    def __init__(
        self,
        decide: cabc.Callable[..., float | t.Literal[False] | None],
        base_ms: int,
        draw: cabc.Callable[[], float] = random.random,
    ) -> None:
        self._decide = decide
        self._base_ms = base_ms
        self._draw = draw
        self.release_quota: cabc.Callable[..., None] = _keep_no_quota
        """botocore's handler that restores, after a success, the quota that retries have used."""

        self.may_repeat: bool = True
        """Whether a write that is not the same twice is sent again, unless its call says so."""

    def needs_retry(
        self, *, attempts: int, response: tuple[t.Any, t.Any] | None, **event: t.Any
    ) -> float | t.Literal[False] | None:
        """Decide whether a call is sent again, and when.

        :param attempts: How often the call was sent.
        :param response: botocore's response and the parsed reply; ``None`` if there is none.
        :return: Seconds to wait before the call is sent again; ``None`` or ``False`` for never.
        :raises CallTimeout: if the call's deadline comes before the end of the wait.
        :raises DamagedReply: if the reply is damaged and the call is not to be sent again.
        :raises WriteOutcomeUnknown: if the call may have been applied and must not be twice.
        """
        record.attempted(attempts)
        damage = _damage(response, event)

        if damage is not None:
            response, event["caught_exception"] = None, damage

        observation.attempt_ended(attempts, response, event.get("caught_exception"))

        if uncertain.is_followed() or not self.may_repeat:
            self._check_outcome(response, **event)

        decision = self._decide(attempts=attempts, response=response, **event)

        if decision is None or decision is False:
            if damage is not None:
                raise damage

            return decision

        wait = full_jitter(self._base_ms, attempts - 1, draw=self._draw)
        wait = max(wait, min(_asked_for(response), wait + MAX_EXTRA_SECONDS_OF_SERVER))

        if (limit := deadline.current()) is not None:
            limit.check(wait)

        return wait

    def wait_for_retry(self, **event: t.Any) -> float | t.Literal[False] | None:
        """Handle botocore's event ``needs-retry``, and wait here rather than in botocore, which
        would keep the call's slot.

        If there is no slot for another attempt in time, the call ends as its last attempt did:
        :exc:`~dynamo_ext.PoolTimeout` says that nothing was sent.

        :param event: The parameters of :meth:`needs_retry`, whose errors are raised, too.
        :return: 0 if the call is to be sent again now; ``None`` or ``False`` for never.
        """
        seconds = self.needs_retry(**event)

        if seconds is None or seconds is False:
            return seconds

        try:
            backoff.wait(seconds)
        except PoolTimeout:
            if (damage := _damage(event["response"], event)) is not None:
                raise damage from None

            return False

        return 0

    def _check_outcome(
        self,
        response: tuple[t.Any, t.Any] | None,
        *,
        operation: t.Any,
        request_dict: dict[str, t.Any],
        caught_exception: BaseException | None = None,
        **event: t.Any,
    ) -> None:
        loss = uncertain.find_loss(response, caught_exception)

        if loss is None or not uncertain.is_write(operation.name):
            return

        if (write := uncertain.current(operation.name)) is not None:
            write.lose(loss, request_dict)
        elif not self.may_repeat:
            params = json.loads(request_dict["body"])
            uncertain.check_repeatable(operation.name, params, loss)


def full_jitter(
    base_ms: int, exponent: int, *, draw: cabc.Callable[[], float] = random.random
) -> float:
    """A random time up to ``base * 2**exponent``, never above 20 seconds.

    :param base_ms: The base, in milliseconds.
    :param exponent: How often there was a wait before.
    :param draw: Returns a random number from 0 up to 1.
    :return: Seconds.

    See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    longest_ms: int = base_ms * 2 ** min(exponent, 64)
    return draw() * min(longest_ms, MAX_BACKOFF_SECONDS * 1000) / 1000


def _keep_no_quota(**event: t.Any) -> None:
    pass


def _damage(response: tuple[t.Any, t.Any] | None, event: dict[str, t.Any]) -> DamagedReply | None:
    if response is None or not isinstance(response[1], Damaged):
        return None

    return DamagedReply(operation=event["operation"].name, reason=response[1].reason)


def _asked_for(response: tuple[t.Any, t.Any] | None) -> float:
    """Seconds that the server asked to wait, or 0."""
    if response is None:
        return 0

    try:
        return max(0.0, int(response[0].headers.get(_RETRY_AFTER, 0)) / 1000)
    except (ValueError, OverflowError):
        return 0
