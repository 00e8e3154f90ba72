"""What the fixture ``dynamodb`` is."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import typing as t

from flask.sansio.app import App

from ..binding import context
from ..concurrency import generators
from ..local.faults import BATCHES
from ..local.faults import Fault
from ..local.faults import ReceivedRequest
from ..models import late_binding
from ..models import tables
from ..models.late_binding import AnyModel
from ..models.late_binding import has_table
from ..models.model import Model
from ..models.model import concrete_models
from ..printable import escaped
from . import names
from .engine import EngineOfTest

_REGION = "us-east-1"


class DynamoDB:
    """A DynamoDB for one test: an embedded engine, with tables that no other test sees.

    Each fault happens at the wire: the engine's server breaks the request, and the app's own client
    meets that, whichever transport, framework, event loop, thread or process it is in. A request
    meets at most one delay and one other fault: of those that match, the first that was set. A
    fault that has happened ``times`` times is over.

    :param engine: What the test has of the engine.
    """

    def __init__(self, engine: EngineOfTest) -> None:
        self._engine = engine
        self.config: dict[str, t.Any] = {
            "DYNAMODB_HOST": engine.url,
            "DYNAMODB_REGION": _REGION,
            "DYNAMODB_AWS_ACCESS_KEY_ID": engine.access_key_id,
            "DYNAMODB_AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
            "DYNAMODB_TABLE_NAME_PREFIX": engine.prefix,
        }
        """Settings for the app of this test: the engine, and a prefix that no other test has.

        Plain data, which can be given to another process, too."""

    def __repr__(self) -> str:
        return f"<DynamoDB {self._engine.url} prefix={self._engine.prefix!r}>"

    def create_tables(self, app: App, *, models: cabc.Iterable[AnyModel] | None = None) -> None:
        """Create the tables of all models, and wait until they are active.

        This blocks. It may be called from an async test or fixture all the same. What it sends is
        neither in :attr:`calls`, which is empty afterwards, nor does it meet faults. The tables are
        deleted after the test.

        :param app: A Flask app or a Quart app that has the settings :attr:`config`.
        :param models: Only the tables of these models. Default: of all that are imported.
        :raises TypeError: if ``app`` is not such an app, or ``models`` are not dynamo-ext's.
        :raises RuntimeError: if ``init_app`` was not called on it, or no model has a table.
        :raises ValueError: if the app has other settings.
        :raises ConfigError: if models that share a table declare different keys.
        :raises pynamodb.exceptions.TableError: if the engine refuses.
        """
        self._check_app(app)
        chosen = concrete_models() if models is None else _checked(models)
        self._engine.command("begin_tables")

        try:
            # In a thread of its own, no event loop is blocked by these calls: the caller's may be.
            with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
                executor.submit(_create_tables, app, chosen).result()
        finally:
            self._engine.command("end_tables")

    @property
    def calls(self) -> Calls:
        """The requests of this test that have reached the engine, in the order in which they came.

        A retry is a request of its own. Each access asks the engine again."""
        received = self._engine.command("requests")
        return Calls(map(_received, received), clear=self._forget_requests)

    def fail(
        self,
        operation: str | None = None,
        table: str | None = None,
        error: str = "ThrottlingException",
        times: int = 1,
    ) -> None:
        """Answer the next requests with an error. They are not applied.

        :param operation: DynamoDB's name of the operation, such as ``"GetItem"``; ``None`` for any.
        :param table: The table, without prefix; ``None`` for any.
        :param error: DynamoDB's error code. It says the HTTP status, too.
        :param times: How many requests are answered so.
        :raises ValueError: if an argument is invalid.
        """
        names.check_operation(operation)
        status = names.status_of(error)
        self._add("fail", operation, table, times, error=error, status=status)

    def delay(
        self,
        seconds: float,
        operation: str | None = None,
        table: str | None = None,
        times: int = 1,
    ) -> None:
        """Hold the answers to the next requests back. They are applied at once.

        At the end of the test, what is held back is answered.

        :param seconds: How long, in seconds.
        :param operation: As in :meth:`fail`.
        :param table: As in :meth:`fail`.
        :param times: How many answers are held back.
        :raises ValueError: if an argument is invalid.
        """
        names.check_seconds(seconds)
        names.check_operation(operation)
        self._add("delay", operation, table, times, seconds=seconds)

    def lose_response(
        self, operation: str | None = None, table: str | None = None, times: int = 1
    ) -> None:
        """Apply the next requests, then close their connection without an answer.

        :param operation: As in :meth:`fail`.
        :param table: As in :meth:`fail`.
        :param times: How many answers are lost.
        :raises ValueError: if an argument is invalid.
        """
        names.check_operation(operation)
        self._add("lose_response", operation, table, times)

    def unprocessed(
        self,
        operation: str | None = None,
        table: str | None = None,
        times: int = 1,
        *,
        count: int | None = None,
    ) -> None:
        """Leave items of the next batches unprocessed.

        :param operation: ``"BatchGetItem"`` or ``"BatchWriteItem"``; ``None`` for both.
        :param table: Whose items are left, without prefix; ``None`` for any.
        :param times: How many requests leave items.
        :param count: How many items are left of each, the last ones; ``None`` for all.
        :raises ValueError: if an argument is invalid.
        """
        names.check_operation(operation, BATCHES)
        names.check_count(count)
        self._add("unprocessed", operation, table, times, count=count)

    @property
    def pending_faults(self) -> list[Fault]:
        """The faults that have not happened, or not as often as they should: each with the number
        of ``times`` that are left."""
        return [Fault(**fault) for fault in self._engine.command("pending")]

    def describe(self) -> str:
        """What the engine was sent, and which faults have not happened, for a person to read."""
        try:
            calls, pending = self.calls, self.pending_faults
        except RuntimeError as error:
            return str(error)

        lines = [f"{len(calls)} requests", *(f"  {_line(call)}" for call in calls)]

        if pending:
            lines += ["faults that have not happened:", *(f"  {_shown(each)}" for each in pending)]

        return "\n".join(lines)

    def _add(
        self,
        kind: t.Literal["fail", "delay", "lose_response", "unprocessed"],
        operation: str | None,
        table: str | None,
        times: int,
        **more: t.Any,
    ) -> None:
        names.check_times(times)

        if table is not None:
            names.check_table(table, self._engine.prefix, self._known_tables())

        self._engine.command(
            "add", kind=kind, operation=operation, table_name=table, times=times, **more
        )

    def _known_tables(self) -> set[str]:
        declared = (late_binding.declared_meta(model).table_name for model in concrete_models())
        return {*self._engine.command("tables"), *map(str, declared)}

    def _forget_requests(self) -> None:
        self._engine.command("forget_requests")

    def _check_app(self, app: App) -> None:
        if not isinstance(t.cast(object, app), App):
            raise TypeError(f"'create_tables' takes an app, not {type(app).__name__!r}.")

        settings = context.state_of(app).own.settings
        actual = settings.host, settings.table_name_prefix

        if actual != (self._engine.url, self._engine.prefix):
            raise ValueError(
                f"The app {app.name!r} does not have the settings of the fixture 'dynamodb':"
                " 'DYNAMODB_HOST' or 'DYNAMODB_TABLE_NAME_PREFIX' differs. Put 'dynamodb.config'"
                " into 'app.config' last, before 'init_app'."
            )


class Calls(list[ReceivedRequest]):
    """Requests that have reached the engine.

    :param received: The requests.
    :param clear: What makes the engine forget them.
    """

    def __init__(
        self, received: cabc.Iterable[ReceivedRequest], *, clear: cabc.Callable[[], None]
    ) -> None:
        super().__init__(received)
        self._clear = clear

    def clear(self) -> None:
        """Forget all requests so far: ``dynamodb.calls`` then has only those that follow."""
        self._clear()
        super().clear()


def _checked(models: cabc.Iterable[AnyModel]) -> list[AnyModel]:
    """The models of which tables are to be created.

    A model of PynamoDB alone would send its requests to where its own ``Meta`` says: to AWS.
    """
    if isinstance(t.cast(object, models), type):
        name = t.cast(type, models).__name__
        raise TypeError(f"'models' must be a list of models: models=[{name}].")

    chosen = list(models)

    for each in t.cast("list[object]", chosen):
        if not (isinstance(each, type) and issubclass(each, Model) and has_table(each)):
            raise TypeError(
                f"'models' must be models of dynamo-ext that have a table, not {each!r}. The tables"
                " of others are created as without dynamo-ext: Other.create_table(wait=True)."
            )

    return chosen


def _create_tables(app: App, models: cabc.Sequence[AnyModel]) -> None:
    if not models:
        raise RuntimeError(
            "There is no model. Import the module that defines the models before the tables are"
            " created."
        )

    with context.use(app):
        for sharing in tables.by_table(models):
            generators.run(tables.create(sharing, wait=True))


def _received(values: dict[str, t.Any]) -> ReceivedRequest:
    for name in ("table_names", "faults"):
        # JSON has lists only.
        values[name] = tuple(values[name])

    return ReceivedRequest(**values)


def _line(call: ReceivedRequest) -> str:
    parts = (
        call.operation,
        *call.table_names,
        call.index_name,
        f"attempt {call.attempt}" if (call.attempt or 1) > 1 else None,
        call.error or call.status or "not answered",
        *(f"[{kind}]" for kind in call.faults),
    )
    return escaped(" ".join(str(part) for part in parts if part is not None))


def never_happened(pending: cabc.Iterable[Fault]) -> list[str]:
    """Those of the faults that have not happened to any request, for a person to read.

    :param pending: Faults that wait for requests.
    """
    return [_shown(fault) for fault in pending if not fault.happened]


def _shown(fault: Fault) -> str:
    where = ", ".join(filter(None, [fault.operation, fault.table_name])) or "any request"
    times = "once" if fault.times == 1 else f"{fault.times} times"
    return escaped(f"{fault.kind}: {where}, {times}")
