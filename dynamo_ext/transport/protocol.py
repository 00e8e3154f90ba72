"""What a transport is: the thing that sends a call to DynamoDB and returns the reply."""

from __future__ import annotations

import typing as t

Params = dict[str, t.Any]
Parsed = dict[str, t.Any]


class Transport(t.Protocol):
    """Sends the calls of one botocore client.

    A transport is installed by :func:`dynamo_ext.transport.installation.install`, in no other way.
    """

    @property
    def waits_cooperatively(self) -> bool:
        """Whether a call made now would wait only by :mod:`dynamo_ext.concurrency.waiting`, so
        that its thread can make other calls meanwhile."""
        ...

    def send(self, operation_name: str, params: Params) -> Parsed:
        """Send one call, with all its attempts.

        :param operation_name: DynamoDB's name of the operation, such as ``"GetItem"``.
        :param params: The operation's parameters.
        :return: The parsed reply, as botocore returns it.
        :raises botocore.exceptions.ClientError: if DynamoDB answers with an error.
        :raises botocore.exceptions.BotoCoreError: if there is no valid answer.
        """
        ...

    def close(self) -> None:
        """Close all idle connections of the transport's own."""
        ...

    def abandon(self) -> None:
        """Close, in a forked child, the sockets that were idle in its parent.

        Nothing is written to them: the parent still uses them. No lock is taken: a thread of the
        parent may have held it, and the child has no such thread.
        """
        ...
