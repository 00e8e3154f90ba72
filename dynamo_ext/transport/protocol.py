"""What a transport is: the thing that sends a call to DynamoDB and returns the reply."""

from __future__ import annotations

import socket
import typing as t

from ..calls.item_reading import ReadItems

Params = dict[str, t.Any]
Parsed = dict[str, t.Any]


class PlainParams(Params):
    """Parameters that this project has made of nothing but texts, flags, numbers and binaries. They
    can be encoded without a check."""

    __slots__ = ()


class Outgoing(t.Protocol):
    """A call whose first attempt is made in steps that never wait, by who watches its socket."""

    @property
    def patience_seconds(self) -> float:
        """The longest wait for the next bytes of a reply, in seconds."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether anything was sent."""
        ...

    def begin(self) -> socket.socket | None:
        """Sign the request and send it, as far as that goes without waiting.

        :return: The socket on which the reply will come; ``None`` if there is no open connection,
            or the exchange has ended already.
        :raises botocore.exceptions.BotoCoreError: if the request can't be signed any more.
        """
        ...

    def proceed(self) -> bool:
        """Read what there is, once the socket is ready.

        :return: Whether the exchange has ended.
        """
        ...

    def result(self, read: ReadItems | None) -> Parsed | None:
        """Parse the reply of an exchange that has ended.

        :param read: What reads its items; ``None`` if they are left as botocore gives them.
        :return: The parsed reply, as botocore returns it; ``None`` if it is not an ordinary one.
        """
        ...

    def give_up(self) -> None:
        """End an exchange whose server is too slow: the attempt has failed."""
        ...

    def close(self) -> None:
        """Close the connection: nobody will go on with the call."""
        ...

    def hand_over(self) -> None:
        """Make the next call of the current context that is the same, of the same operation and
        with the same parameters, go on with this one."""
        ...


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

    def prepare(self, operation_name: str, params: Params) -> Outgoing | None:
        """Prepare a call that is made in steps that never wait.

        Nothing must be hooked into the client: the caller has asked for
        :attr:`waits_cooperatively`.

        :param operation_name: DynamoDB's name of the operation.
        :param params: The operation's parameters.
        :return: The call; ``None`` if only :meth:`send` can make it.
        :raises RuntimeError: if a test must not send it.
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
