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
_MUST_HAPPEN = "dynamodb_faults_must_happen"
# The attribute of a report that has the faults which never happened in a test that passed.
_NEVER_HAPPENED = "dynamodb_faults_that_never_happened"
# Those of dynamo_ext.transport.loopback; a test compares them.
VARIABLE = "_DYNAMO_EXT_ENDPOINTS"
LOOPBACK = "loopback"
ANY = "any"

_variable_before = pytest.StashKey[str | None]()
_dynamodb_of_test = pytest.StashKey["DynamoDB"]()
_has_passed = pytest.StashKey[bool]()
_never_happened = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for ``pytest.ini`` and ``pyproject.toml``."""
    parser.addini(
        _IN_ALL_TESTS,
        "Refuse endpoints of dynamo-ext beyond the loopback interface in all tests that are not"
        f" marked {_MARKER}; if false, only in those that use the fixture {_FIXTURE!r}.",
        type="bool",
        default=True,
    )
    parser.addini(
        _MUST_HAPPEN,
        f"Fail a test that passed although a fault of the fixture {_FIXTURE!r} never happened in"
        " it. If false, the summary at the end lists these faults.",
        type="bool",
        default=False,
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
    """Add to the report what the engine was sent, if the test failed, and else which faults never
    happened."""
    report = yield
    used = item.stash.get(_dynamodb_of_test, None)

    if report.when == "call":
        item.stash[_has_passed] = report.passed

        if used is not None and report.failed:
            report.sections.append((f"fixture {_FIXTURE!r}", used.describe()))

    if report.when == "teardown" and (faults := item.stash.get(_never_happened, None)):
        # pytest-xdist sends a report's attributes from its workers.
        setattr(report, _NEVER_HAPPENED, faults)

    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the faults that never happened in tests that passed."""
    reports = [each for of_kind in terminalreporter.stats.values() for each in of_kind]
    found = [(each, faults) for each in reports if (faults := getattr(each, _NEVER_HAPPENED, None))]

    if found:
        terminalreporter.section(f"faults of the fixture {_FIXTURE!r} that never happened")

    for report, faults in found:
        test = terminalreporter.config.cwd_relative_nodeid(report.nodeid)

        for fault in faults:
            terminalreporter.line(f"{test}: {fault}")


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
    from dynamo_ext.testing.fixture import never_happened

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
        # A plugin may run the test more than once.
        item.stash[_has_passed] = False

        try:
            yield used
        finally:
            del item.stash[_dynamodb_of_test]
            pending = engine.end()

    _tell(item, never_happened(pending) if item.stash[_has_passed] else [])


def _tell(item: pytest.Item, faults: list[str]) -> None:
    """Tell which faults never happened: the test has perhaps not tested what it was to test."""
    if faults and item.config.getini(_MUST_HAPPEN):
        lines = "\n".join(f"  {fault}" for fault in faults)
        pytest.fail(f"faults of the fixture {_FIXTURE!r} never happened:\n{lines}", pytrace=False)

    item.stash[_never_happened] = faults


def _is_remote(item: pytest.Item) -> bool:
    return item.get_closest_marker(_MARKER) is not None


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = value
