"""All exceptions and warnings of this project."""

from __future__ import annotations

import typing as t

import botocore.exceptions
import pynamodb.exceptions
import werkzeug.exceptions

_FOR_CLIENTS = "The service is too busy to answer now. Try again in a moment."


class ConfigError(ValueError):
    """A setting is missing, malformed or contradicts another one.

    The message names the key and says what would be right. It never holds what may be a secret: the
    value of a credential or a header, a URL with a password or a token.
    """


def without_origin(error: ConfigError) -> ConfigError:
    """Drop what could show a value that the message does not: traceback, cause and context.

    :param error: The error.
    :return: The error, to be raised again.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class InvalidCursor(werkzeug.exceptions.BadRequest):
    """A cursor was altered, is too old, or was made for another query, scope or app.

    Unhandled, Flask and Quart answer with 400.
    """

    description: str = (
        "The cursor is not valid here: it was altered, or made for another list. Start again from"
        " the first page."
    )


class Unavailable(TimeoutError, werkzeug.exceptions.ServiceUnavailable):
    """Something took too long. Unhandled, Flask and Quart answer with 503 and ``Retry-After``.

    The answer does not contain the message, which is for the people who run the app.

    :param message: What happened.
    """

    def __init__(self, message: str) -> None:
        werkzeug.exceptions.ServiceUnavailable.__init__(self, _FOR_CLIENTS, retry_after=1)
        TimeoutError.__init__(self, message)

    def __repr__(self) -> str:
        return TimeoutError.__repr__(self)


class PoolTimeout(Unavailable):
    """No slot of the pool became free in time.

    :param size: How many calls the pool lets run at once.
    :param in_use: How many were running when the wait ended.
    :param waiting: How many calls were still queued, without this one.
    :param timeout: How long this call waited, in seconds.
    """

    def __init__(self, size: int, in_use: int, waiting: int, timeout: float) -> None:
        super().__init__(
            f"no slot became free within {timeout:g} s: {in_use} of {size} are in use"
            f" and {waiting} more calls are waiting. Raise"
            " 'DYNAMODB_MAX_POOL_CONNECTIONS' to allow more calls at once, or"
            " 'DYNAMODB_POOL_TIMEOUT_SECONDS' to wait longer."
        )
        self.size = size
        self.in_use = in_use
        self.waiting = waiting
        self.timeout = timeout

    def __reduce__(self) -> tuple[type[PoolTimeout], tuple[int, int, int, float]]:
        return type(self), (self.size, self.in_use, self.waiting, self.timeout)


OUTCOME_UNKNOWN = "outcome_unknown"
"""The attribute that says, on the error of a write, whether the write may have been applied."""


class CallTimeout(Unavailable):
    """A call was not done when its time was up. A write may or may not have been applied.

    :param timeout: How long the call was allowed to take, in seconds.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__(
            f"the call was not done within {timeout:g} s, with its wait for a slot, its attempts"
            " and the waits between them. 'DYNAMODB_CALL_TIMEOUT_SECONDS' sets this limit."
        )
        self.timeout = timeout

    def __reduce__(self) -> tuple[type[CallTimeout], tuple[float]]:
        return type(self), (self.timeout,)


class DamagedReply(botocore.exceptions.HTTPClientError):
    """A reply was cut or changed on its way, in each attempt. The call may have been applied.

    PynamoDB raises it as the ``cause`` of its own exceptions.
    """

    fmt = "The reply to {operation} is damaged: {reason}."


class WriteOutcomeUnknown(botocore.exceptions.BotoCoreError):
    """The answer to a write was lost, and the write was not sent again: to apply it twice would not
    be the same as once. It may have been applied.

    Raised only with ``DYNAMODB_UNCERTAIN_WRITES = "raise"``. PynamoDB raises it as the ``cause`` of
    its own exceptions.
    """

    fmt = (
        "The answer to {operation} was lost ({reason}). The write may have been applied; it was not"
        " sent again, because to apply it twice is not the same as once. Read what is stored before"
        " you repeat it."
    )

    outcome_unknown = True


class UnprocessedItems(pynamodb.exceptions.PutError):
    """DynamoDB left some items of a batch unwritten, though they were sent again and again.

    :param table_name: The table.
    :param unprocessed_items: The requests that remain, as DynamoDB returned them.
    """

    def __init__(self, table_name: str, unprocessed_items: list[dict[str, t.Any]]) -> None:
        super().__init__(
            f"{len(unprocessed_items)} items were not written to table {table_name!r}:"
            " DynamoDB left them unprocessed again and again. They are on this error,"
            " as 'unprocessed_items'."
        )
        self.table_name = table_name
        self.unprocessed_items = unprocessed_items


class UnprocessedKeys(pynamodb.exceptions.GetError):
    """DynamoDB left some keys of a batch unread, though they were sent again and again.

    :param table_name: The table.
    :param unprocessed_keys: The keys that remain, as DynamoDB returned them.
    """

    def __init__(self, table_name: str, unprocessed_keys: list[dict[str, t.Any]]) -> None:
        super().__init__(
            f"{len(unprocessed_keys)} items were not read from table {table_name!r}:"
            " DynamoDB left them unprocessed again and again. Their keys are on this error,"
            " as 'unprocessed_keys'."
        )
        self.table_name = table_name
        self.unprocessed_keys = unprocessed_keys


class BlockingCallWarning(RuntimeWarning):
    """A blocking call was made on the thread of an event loop, whose tasks wait meanwhile."""


class CallAdvice(UserWarning):
    """A call, or many of them, could be made in a better way. The message says how.

    It points to the place in the app's code, and is issued once per place and app, where calls are
    recorded. It is issued before the call is sent: where a filter makes an error of it, nothing has
    been sent.
    """


def error_code(error: botocore.exceptions.ClientError) -> str | None:
    """DynamoDB's code of an error, such as ``"ResourceNotFoundException"``.

    :param error: The error, botocore's or PynamoDB's.
    :return: The code; ``None`` if the reply has none.
    """
    response = t.cast("dict[str, dict[str, str]]", error.response)
    return response.get("Error", {}).get("Code")


FAILURES: t.Final = (
    ConfigError,
    Unavailable,
    pynamodb.exceptions.PynamoDBException,
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
)
"""What may be wrong with a setting, a server or a connection: commands and pages show it as a
message, without a traceback."""
