"""The plugin for pytest: the fixture ``dynamodb`` and the marker ``dynamodb_remote``.

pytest imports this package at its start, in each environment that has dynamo-ext. So it imports
nothing but pytest, and ``dynamo_ext``, with Flask and botocore, only in a test that uses the
fixture: until then a ``conftest.py`` may still set what these read when they are imported.

PYTEST_DONT_REWRITE: there is no assertion here.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import typing as t

import pytest

if t.TYPE_CHECKING:
    from dynamo_ext.testing import DynamoDB
    from dynamo_ext.testing.engine import EngineOfSession

_FIXTURE = "dynamodb"
_MARKER = "dynamodb_remote"
_IN_ALL_TESTS = "dynamodb_loopback_only"
# Those of dynamo_ext.transport.loopback; a test compares them.
VARIABLE = "_DYNAMO_EXT_ENDPOINTS"
LOOPBACK = "loopback"
ANY = "any"

_variable_before = pytest.StashKey[str | None]()
_dynamodb_of_test = pytest.StashKey["DynamoDB"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for ``pytest.ini`` and ``pyproject.toml``."""
    parser.addini(
        _IN_ALL_TESTS,
        "Refuse endpoints of dynamo-ext beyond the loopback interface in all tests that are not"
        f" marked {_MARKER}; if false, only in those that use the fixture {_FIXTURE!r}.",
        type="bool",
        default=True,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker. From now on, processes know that they run tests."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}: the test may use an endpoint of DynamoDB beyond the loopback interface",
    )
    config.stash[_variable_before] = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = ANY


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    _set_variable(config.stash.get(_variable_before, None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> cabc.Generator[None, bool | None, bool | None]:
    """Refuse remote endpoints while a test runs, unless it is marked."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = LOOPBACK if item.config.getini(_IN_ALL_TESTS) else ANY

    if _is_remote(item):
        os.environ[VARIABLE] = ANY

    try:
        return (yield)
    finally:
        _set_variable(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> cabc.Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the engine was sent to the report of a test that failed."""
    report = yield
    used = item.stash.get(_dynamodb_of_test, None)

    if used is not None and report.when == "call" and report.failed:
        report.sections.append((f"fixture {_FIXTURE!r}", used.describe()))

    return report


@pytest.fixture(scope="session")
def _dynamodb_engine() -> cabc.Iterator[EngineOfSession]:
    """The engine of this session, and of this worker of pytest-xdist. It starts at first use."""
    from dynamo_ext.testing.engine import EngineOfSession

    engine = EngineOfSession()
    yield engine
    engine.stop()


@pytest.fixture
def dynamodb(
    request: pytest.FixtureRequest, _dynamodb_engine: EngineOfSession
) -> cabc.Iterator[DynamoDB]:
    """A DynamoDB for one test: settings, tables, what it was sent, and faults at the wire."""
    from dynamo_ext.testing import DynamoDB
    from dynamo_ext.testing.engine import EngineNotInstalled

    item = t.cast(pytest.Item, request.node)

    try:
        engine = _dynamodb_engine.begin()
    except EngineNotInstalled as error:
        pytest.fail(str(error), pytrace=False)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.variables.items():
            patch.setenv(name, value)

        if not _is_remote(item):
            patch.setenv(VARIABLE, LOOPBACK)

        used = item.stash[_dynamodb_of_test] = DynamoDB(engine)

        try:
            yield used
        finally:
            del item.stash[_dynamodb_of_test]
            engine.end()


def _is_remote(item: pytest.Item) -> bool:
    return item.get_closest_marker(_MARKER) is not None


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = value
