"""Plugins of pytest for the transport of a run, which an environment variable names."""

from __future__ import annotations

import collections
import os
import typing as t
import zlib

import pytest

import engines

_BY_TURNS = "by-turns"
_BY_TURNS_REVERSED = "by-turns-reversed"


def register(config: pytest.Config) -> None:
    """Register the plugin for the transport of this run, if it needs one."""
    transport = os.environ.get(engines.TRANSPORT, "botocore")

    if transport in {_BY_TURNS, _BY_TURNS_REVERSED}:
        config.pluginmanager.register(TransportsByTurns(reverse=transport == _BY_TURNS_REVERSED))
    elif transport != "botocore":
        config.pluginmanager.register(OnTransport(transport))


class OnTransport:
    """Runs the tests on another transport than the default one.

    Those that would be the same, or are about the default transport, are deselected. They are not
    skipped, because in CI a skipped test is a failure.

    :param transport: What ``DYNAMODB_TRANSPORT`` is where a test does not set it.
    """

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.reasons: collections.Counter[str] = collections.Counter()
        _set_default_transport(transport)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        reasons = {item: _reason_for_default_transport(item) for item in items}
        deselected = [item for item, reason in reasons.items() if reason is not None]
        self.reasons.update(reason for reason in reasons.values() if reason is not None)
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item, reason in reasons.items() if reason is None]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["deselected"] = dict(self.reasons)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: t.Any) -> None:
        # Each worker of pytest-xdist collects all tests; the controller collects none.
        self.reasons = collections.Counter(getattr(node, "workeroutput", {}).get("deselected", {}))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"transport: {self.transport!r}")
        terminalreporter.line("deselected, because they run on the default transport alone:")

        for reason, count in self.reasons.items():
            terminalreporter.line(f"  {count}: {reason}")


class TransportsByTurns:
    """Runs half of the tests that depend on the transport on ``botocore``, the rest on ``direct``.

    Those on uvloop's event loop are among the rest: on ``botocore``, threads make the calls.

    :param reverse: Whether each runs on the other one of the two.
    """

    def __init__(self, *, reverse: bool) -> None:
        self._reverse = reverse

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> t.Generator[None, object, object]:
        is_on_direct = self._is_on_direct(item)
        default = _set_default_transport("direct") if is_on_direct else None
        value = os.environ[engines.TRANSPORT]
        # The processes that the test starts see it, too.
        os.environ[engines.TRANSPORT] = "direct" if is_on_direct else "botocore"

        try:
            return (yield)
        finally:
            os.environ[engines.TRANSPORT] = value

            if default is not None:
                _set_default_transport(default)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> t.Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield

        if report.failed:
            how = f"{engines.TRANSPORT}={os.environ[engines.TRANSPORT]}"
            report.sections.append(("transport", f"It fails with {how}."))

        return report

    def _is_on_direct(self, item: pytest.Item) -> bool:
        is_repo = item.get_closest_marker("repo") is not None
        is_slow = item.get_closest_marker("slow") and not item.get_closest_marker("wire")

        if is_repo or is_slow or _reason_for_default_transport(item) is not None:
            return False

        # Not the whole node id, to which pytest-xdist adds the group.
        name = f"{item.path.name}::{item.name}"
        is_first_on_direct = "uvloop" in name or zlib.crc32(name.encode()) % 2 == 1
        return is_first_on_direct != self._reverse


def _set_default_transport(transport: str) -> str:
    """Set what ``DYNAMODB_TRANSPORT`` is where a test does not set it.

    :return: What it was before.
    """
    # Most apps here leave the setting out, and so should they: hence its default, which is the
    # field's, the initializer's and the class's.
    from dynamo_ext import Settings

    field = Settings.__dataclass_fields__["transport"]
    before, field.default = field.default, transport
    t.cast(t.Any, Settings.__init__).__kwdefaults__["transport"] = transport
    t.cast(t.Any, Settings).transport = transport
    return t.cast(str, before)


def _reason_for_default_transport(item: pytest.Item) -> str | None:
    """Why a test runs on the default transport alone; ``None`` for one that does not."""
    markers = [*item.iter_markers("botocore"), *item.iter_markers("once")]
    return t.cast(str, markers[0].kwargs["reason"]) if markers else None
