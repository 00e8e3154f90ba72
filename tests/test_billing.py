"""How a table is billed: as the table of the documentation says, for all combinations."""

from __future__ import annotations

import collections.abc as cabc
import itertools
import pathlib
import re
import typing as t

import pynamodb.models
import pytest
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext_async
from conftest import InApp
from dynamo_ext import ConfigError
from dynamo_ext import Model
from dynamo_ext.config.settings import PAY_PER_REQUEST
from dynamo_ext.config.settings import PROVISIONED
from stub import Stub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="what is asked for does not depend on the transport"),
]

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "models.md"

Values = dict[str, t.Any]

ON_DEMAND = "on demand"
REFUSED = "ConfigError"
MODES = (None, PAY_PER_REQUEST, PROVISIONED)
UNITS = {"read_capacity_units": 2, "write_capacity_units": 3}
PLACES = ("call", "Meta", "app")


class Case(t.NamedTuple):
    """What is set where."""

    modes: tuple[str | None, str | None, str | None]
    """In the call, the ``Meta`` and the app."""

    read: str | None
    """The place of the capacity to read."""

    write: str | None

    @property
    def call(self) -> Values:
        return self._values("call")

    @property
    def meta(self) -> Values:
        return self._values("Meta")

    @property
    def app(self) -> Values:
        return {f"DYNAMODB_{name.upper()}": value for name, value in self._values("app").items()}

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.modes))}-{self.read}-{self.write}"

    def _values(self, place: str) -> Values:
        mode = self.modes[PLACES.index(place)]
        capacities = zip(UNITS.items(), (self.read, self.write), strict=True)
        return {
            **({} if mode is None else {"billing_mode": mode}),
            **{name: units for (name, units), at in capacities if at == place},
        }


def documented() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The table of the documentation."""
    cells = r"\| ([^|\n]+) " * 6 + r"\|\n"
    page = PAGE.read_text(encoding="utf-8")
    rows = [
        [cell.strip("` ") for cell in row]
        for row in re.findall(f"^{cells}", page, flags=re.MULTILINE)
    ]
    outcomes = {ON_DEMAND, PROVISIONED.lower(), REFUSED}
    return {tuple(row[:3]): tuple(row[3:]) for row in rows if outcomes.issuperset(row[3:])}


def expected(case: Case) -> str:
    """What the documentation says of a case."""
    (outcomes,) = [
        outcomes
        for modes, outcomes in documented().items()
        if all(
            wanted in ("any", mode or "-") for wanted, mode in zip(modes, case.modes, strict=True)
        )
    ]
    return outcomes[(case.read is not None) + (case.write is not None)]


def cases(modes: cabc.Iterable[t.Any], capacities: cabc.Iterable[t.Any]) -> list[Case]:
    return [Case(each, *units) for each, units in itertools.product(modes, capacities)]


ALL_MODES = list(itertools.product(MODES, repeat=3))
EVERYWHERE = list(itertools.product((None, *PLACES), repeat=2))
# On an engine: where a place counts, all after it say the opposite.
OF_THE_ENGINES = cases(
    [
        (None, None, None),
        (None, None, PAY_PER_REQUEST),
        (None, None, PROVISIONED),
        (None, PAY_PER_REQUEST, PROVISIONED),
        (None, PROVISIONED, PAY_PER_REQUEST),
        (PAY_PER_REQUEST, PROVISIONED, PROVISIONED),
        (PROVISIONED, PAY_PER_REQUEST, PAY_PER_REQUEST),
    ],
    [
        (None, None),
        ("call", None),
        ("call", "call"),
        ("Meta", "Meta"),
        ("app", "app"),
        ("call", "Meta"),
        ("Meta", "app"),
    ],
)


def billed(meta: Values, base: type[t.Any] = Model) -> type[t.Any]:
    """A model with such a ``Meta``."""
    declared = type("Meta", (), {"table_name": "billed", **meta})
    return type("Billed", (base,), {"Meta": declared, "id": UnicodeAttribute(hash_key=True)})


def test_the_table_of_the_documentation_says_everything_once() -> None:
    assert len(documented()) == 7
    assert {expected(case) for case in cases(ALL_MODES, EVERYWHERE)} == {
        ON_DEMAND,
        PROVISIONED.lower(),
        REFUSED,
    }


@pytest.mark.parametrize("case", OF_THE_ENGINES, ids=str)
def test_a_table_is_billed_as_documented(
    case: Case, in_app: InApp, config: dict[str, t.Any]
) -> None:
    model = billed(case.meta)

    with in_app(config, **case.app):
        if expected(case) == REFUSED:
            with pytest.raises(ConfigError, match=r"DYNAMODB_(READ|WRITE)_CAPACITY_UNITS"):
                model.create_table(wait=True, **case.call)

            assert not model.exists()
            return

        model.create_table(wait=True, **case.call)
        table = model.describe_table()

    throughput = table.get("ProvisionedThroughput", {})
    units = throughput.get("ReadCapacityUnits", 0), throughput.get("WriteCapacityUnits", 0)
    mode = table.get("BillingModeSummary", {}).get("BillingMode", PROVISIONED)

    if expected(case) == ON_DEMAND:
        assert (mode, units) == (PAY_PER_REQUEST, (0, 0))
    else:
        assert (mode, units) == (PROVISIONED, (2, 3))


def by_app(modes: cabc.Iterable[t.Any]) -> list[list[Case]]:
    """The cases of these modes, in groups that have the same settings of the app."""

    def settings(case: Case) -> str:
        return repr(case.app)

    every = sorted(cases(modes, EVERYWHERE), key=settings)
    return [list(group) for _, group in itertools.groupby(every, settings)]


def test_all_combinations_send_what_is_documented(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    for group in by_app(ALL_MODES):
        with in_app(stub_config, **group[0].app):
            for case in group:
                assert create(stub, billed(case.meta), case) == expected(case), case


@pytest.mark.anyio
async def test_so_do_awaited_ones(in_app: InApp, stub_config: dict[str, t.Any], stub: Stub) -> None:
    for group in by_app(
        [
            (None, None, None),
            (None, None, PROVISIONED),
            (None, PAY_PER_REQUEST, PROVISIONED),
            (PROVISIONED, PAY_PER_REQUEST, None),
        ]
    ):
        with in_app(stub_config, **group[0].app):
            for case in group:
                model = billed(case.meta, dynamo_ext_async.Model)
                assert await acreate(stub, model, case) == expected(case), case


def create(stub: Stub, model: t.Any, case: Case) -> str:
    stub.forget()

    try:
        model.create_table(**case.call)
    except ConfigError:
        return outcome(stub, refused=True)

    model.delete_table()
    return outcome(stub)


async def acreate(stub: Stub, model: t.Any, case: Case) -> str:
    stub.forget()

    try:
        await model.acreate_table(**case.call)
    except ConfigError:
        return outcome(stub, refused=True)

    await model.adelete_table()
    return outcome(stub)


def outcome(stub: Stub, *, refused: bool = False) -> str:
    """What a CreateTable says, if there was one."""
    requests = [each.body for each in stub.requests if each.operation == "CreateTable"]

    if refused:
        assert not requests
        return REFUSED

    (request,) = requests

    if request.get("BillingMode", PROVISIONED) == PAY_PER_REQUEST:
        assert "ProvisionedThroughput" not in request
        return ON_DEMAND

    assert request["ProvisionedThroughput"] == {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    return PROVISIONED.lower()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("app", [{}, {"read": 7, "write": 8}], ids=str)
def test_the_capacity_of_the_call_comes_before_the_meta_s_and_that_before_the_app_s(
    mode: str | None, app: dict[str, int], in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    settings = {f"DYNAMODB_{name.upper()}_CAPACITY_UNITS": units for name, units in app.items()}
    declared = {"read_capacity_units": 5, "write_capacity_units": 6, "billing_mode": PROVISIONED}

    with in_app(stub_config, **settings):
        billed(declared).create_table(read_capacity_units=2)

        if app:
            model = billed({"write_capacity_units": 6})
            model.Meta.table_name = "other"
            model.create_table(billing_mode=PROVISIONED)

    sent = [
        each.body["ProvisionedThroughput"]
        for each in stub.requests
        if each.operation == "CreateTable"
    ]
    assert sent[0] == {"ReadCapacityUnits": 2, "WriteCapacityUnits": 6}
    assert sent[1:] == [{"ReadCapacityUnits": 7, "WriteCapacityUnits": 6}] * bool(app)


EXPLICIT = [
    case
    for case in cases([each for each in ALL_MODES if any(each[:2])], EVERYWHERE)
    # Stock PynamoDB has no app.
    if not case.app
    # It sends half a capacity, or none, as null.
    and expected(case) != REFUSED
]


@pytest.mark.parametrize("case", EXPLICIT, ids=str)
def test_an_explicit_mode_is_sent_as_by_pynamodb(
    case: Case, in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    of_stock = {
        "host": stub.url,
        "region": "us-east-1",
        "aws_access_key_id": "AKIDOFTHETESTS",
        "aws_secret_access_key": "secret-of-the-tests",
    }
    billed({**case.meta, **of_stock}, pynamodb.models.Model).create_table(**case.call)

    with in_app(stub_config):
        billed(case.meta).create_table(**case.call)

    stock, ours = (each.body for each in stub.requests if each.operation == "CreateTable")
    assert {**ours, "TableName": "billed"} == stock


def test_an_unknown_mode_of_a_call_is_refused_as_by_pynamodb(
    in_app: InApp, stub_config: dict[str, t.Any], stub: Stub
) -> None:
    with in_app(stub_config), pytest.raises(ValueError, match="incorrect value for billing_mode"):
        billed({}).create_table(billing_mode="FREE")

    assert "CreateTable" not in stub.operations
