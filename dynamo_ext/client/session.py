"""botocore's session, without what it prepares for other services until one of them is used."""

from __future__ import annotations

import threading
import typing as t

import botocore.handlers
import botocore.session

_SERVICE = "dynamodb"
_OURS = frozenset({_SERVICE, "*"})
# The events of botocore's documentation have a part more before the service.
_DOCUMENTATION = "docs"


class Session(botocore.session.Session):
    """A session like any other of botocore's.

    More than nine of ten event handlers that botocore registers are for other services. To register
    them takes longer than to create a client, and each client copies them. So they are registered
    when a client of another service is asked for: by the app, or by what fetches credentials.
    """

    def __init__(self) -> None:
        super().__init__(include_builtin_handlers=False)
        # Reentrant: a signal handler may ask for a client, too.
        self._lock = threading.RLock()
        self._others: list[_Registration] = []

        for registration in _registrations():
            if _is_ours(registration[0]):
                self._add(*registration)
            else:
                self._others.append(registration)

    if not t.TYPE_CHECKING:

        def create_client(self, service_name: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
            """Create a client, as botocore does."""
            if service_name != _SERVICE:
                self._add_others()

            return super().create_client(service_name, *args, **kwargs)

    def _add_others(self) -> None:
        with self._lock:
            while self._others:
                self._add(*self._others[0])
                # Afterwards: a signal handler that raises must not let one be forgotten.
                del self._others[0]

    def _add(self, event: str, handler: t.Any, order: object) -> None:
        emitter = t.cast(t.Any, self).get_component("event_emitter")

        if order is botocore.handlers.REGISTER_FIRST:
            emitter.register_first(event, handler)
        elif order is botocore.handlers.REGISTER_LAST:
            emitter.register_last(event, handler)
        else:
            emitter.register(event, handler)


_Registration = tuple[str, t.Any, object]


def _registrations() -> list[_Registration]:
    """What botocore registers, and tools that have put themselves into its list."""
    listed: list[t.Any] = t.cast(t.Any, botocore.handlers).BUILTIN_HANDLERS
    return [(event, handler, order[0] if order else None) for event, handler, *order in listed]


def _is_ours(event: str) -> bool:
    """Whether an event may be one of DynamoDB's clients. Names begin with what happens, and go on
    with the service; what they leave out, or is ``*``, is anything."""
    parts = event.split(".")
    place = 2 if parts[0] == _DOCUMENTATION else 1
    return len(parts) <= place or parts[place] in _OURS
