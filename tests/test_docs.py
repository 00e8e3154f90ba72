"""The examples of the docs do what the docs say; :mod:`pages` tells how they are marked up."""

from __future__ import annotations

import ast
import collections.abc as cabc
import dataclasses
import importlib.metadata
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import time
import tomllib
import typing as t
import urllib.error
import urllib.parse
import urllib.request
import warnings

import botocore.exceptions
import click
import flask
import pytest
import werkzeug.exceptions
from packaging.requirements import Requirement

import dynamo_ext
import dynamo_ext_async
import engines
import pages
import ports
import terminal
import warm
from dynamo_ext.cli.group import dynamodb as command_group

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"

# Some pages start several servers, one after the other.
pytestmark = [pytest.mark.timeout(600), pytest.mark.repo]


def _pages() -> list[pathlib.Path]:
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def _with_blocks(wanted: cabc.Callable[[pages.Block], bool]) -> pytest.MarkDecorator:
    found = [
        page
        for page in _pages()
        if any(map(wanted, pages.read(page.read_text())))
        # tests/test_tutorial.py follows it from its first line to its last.
        and page.stem != "tutorial"
    ]
    return pytest.mark.parametrize("page", found, ids=[page.stem for page in found])


def _is_command(block: pages.Block) -> bool:
    return block.language == "bash" and block.mark != "not run"


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> cabc.Iterator[dict[str, str]]:
    """For the processes of a page. Their embedded engines must end with them."""
    variables = engines.python_environment()
    yield {
        **{name: variables[name] for name in variables if not name.startswith("_DYNAMO_EXT")},
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        # pytest-asyncio warns where it is not configured, and the pages use anyio's plugin.
        "PYTEST_ADDOPTS": "-p no:asyncio -p no:trio",
        "PYTHONWARNINGS": "error",
        "TMPDIR": str(tmp_path),
    }
    _wait_for(lambda: not list(tmp_path.glob("dynamo-ext-*/*")), "an engine outlived its page")


def _wait_for(condition: cabc.Callable[[], object], complaint: str) -> None:
    deadline = time.monotonic() + terminal.DEADLINE

    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)


def _run_examples(
    page: str, name: str, environment: dict[str, str], directory: pathlib.Path
) -> subprocess.CompletedProcess[str]:
    (directory / name).write_text(page)
    return warm.run(
        [sys.executable, "-P", pages.__file__, name],
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment,
    )


@pytest.mark.slow
@_with_blocks(lambda block: block.runs)
def test_examples(page: pathlib.Path, environment: dict[str, str], tmp_path: pathlib.Path) -> None:
    text, _ = ports.with_free_ports(page.read_text())
    done = _run_examples(text, page.name, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def _example(code: str, *, before: str = "", after: str = "") -> str:
    return f"# A page\n\n{before}\n```python\n{code}\n```\n\n{after}\n"


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (_example("1 / 0"), "line 5, in <module>"),
        (_example("import warnings\nwarnings.warn('old')"), "UserWarning: old"),
        (_example("print(1)", after="```text\n2\n```"), "page.md, line 5: 1"),
        (_example("1", before="<!-- raises: ValueError -->"), "page.md, line 5: raised nothing"),
        (
            _example("int('x')", before="<!-- raises: TypeError -->"),
            "page.md, line 5: raised ValueError",
        ),
        (
            _example("int('')", before="<!-- raises: ValueError -->", after="```text\nno\n```"),
            "page.md, line 5: invalid literal",
        ),
        (_example("def view():\n    return 1"), "no example runs the lines [6]"),
        (_example("x = 1", before="<!-- file: x.py -->"), "no example runs the lines [5]"),
        (_example("x = 1", after="<!-- check\nassert x == 2\n-->"), "line 9, in <module>"),
        (_example("x = 1", before="<!-- oops -->"), "line 3: unknown comment"),
        (_example("x = 1", after="<!-- file: x.py -->\n\nText"), "no block follows 'file: x.py'"),
        ("```perl\n1;\n```\n", "line 1: unknown language 'perl'"),
    ],
)
def test_wrong_page_fails(
    page: str, complaint: str, environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    done = _run_examples(page, "page.md", environment, tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr


@pytest.mark.slow
@_with_blocks(_is_command)
def test_commands(page: pathlib.Path, environment: dict[str, str], tmp_path: pathlib.Path) -> None:
    text, free = ports.with_free_ports(page.read_text())
    blocks = pages.read(text)
    pages.write_files(blocks, tmp_path)
    default_port = free.get("5000", "0")
    ports_of_commands = {"FLASK_RUN_PORT": default_port, "QUART_RUN_PORT": default_port}
    shell = _Shell(tmp_path, environment | ports_of_commands)

    try:
        for block in filter(_is_command, blocks):
            shell.run(block)
    finally:
        shell.close()


class _Shell:
    """Runs the commands of a page.

    A server runs until the next one takes its port, or until the end.
    """

    def __init__(self, directory: pathlib.Path, environment: dict[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, block: pages.Block) -> None:
        commands = "".join(_without_installations(block.code.splitlines(keepends=True)))

        if block.mark == "answers":
            self._serve(commands, *block.value.split())
        elif commands:
            self._execute(commands, block)

    def _execute(self, commands: str, block: pages.Block) -> None:
        where = f"line {block.line}"
        terminal.run(commands, block, self._directory, self._environment, where)

    def _serve(self, commands: str, url: str, status: str = "200") -> None:
        address = urllib.parse.urlsplit(url).netloc

        if (before := self._servers.pop(address, None)) is not None:
            terminal.stop(before)

        log = self._directory / "server.log"
        server = terminal.serve(commands, self._directory, self._environment, log)
        self._servers[address] = server
        _wait_for(
            lambda: _status(url) == int(status) or server.poll() is not None,
            f"{commands!r} does not answer {url}: {log.read_text()}",
        )
        assert server.poll() is None, f"{commands!r} has ended: {log.read_text()}"

    def close(self) -> None:
        for server in self._servers.values():
            terminal.stop(server)


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=terminal.DEADLINE) as response:
            return t.cast(int, response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def _without_installations(commands: list[str]) -> cabc.Iterator[str]:
    """All commands but ``pip install``, which is only checked."""
    for command in commands:
        if command.startswith("pip install "):
            for requirement in shlex.split(command)[2:]:
                _check_installable(Requirement(requirement))
        else:
            yield command


def _check_installable(requirement: Requirement) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    if requirement.name == project["name"]:
        assert requirement.extras <= set(project["optional-dependencies"]), requirement
    else:
        # Which examples use, so it is there.
        importlib.metadata.version(requirement.name)


def test_every_page_can_be_read() -> None:
    for page in _pages():
        assert not re.findall(r"^[ \t]+(?:```|:::)", page.read_text(), re.MULTILINE), page.name
        pages.read(page.read_text())


def test_blocks_that_are_not_run_have_a_reason() -> None:
    not_run = {
        f"{page.name}: {block.value}"
        for page in _pages()
        for block in pages.read(page.read_text())
        if block.mark == "not run"
    }
    assert not_run == {
        "README.md: each does all that the tests do, and more; CI runs both",
    }


def test_readme_names_two_commands_that_are_there() -> None:
    (block,) = (
        block for block in pages.read((ROOT / "README.md").read_text()) if block.mark == "not run"
    )
    commands = block.code.split()
    assert commands == ["scripts/demo", "scripts/test"]
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def _rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the table of a page that has this heading, each as its cells."""
    _, _, after = (DOCS / page).read_text().partition(f"| {heading} |")
    table, _, _ = after.partition("\n\n")
    rows = table.splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _literal(cell: str) -> t.Any:
    return ast.literal_eval(cell.split("`")[1])


@pytest.mark.botocore(reason="the setting has its own default")
def test_configuration_page_has_every_setting_with_its_default() -> None:
    defaults = {
        f"`DYNAMODB_{field.name.upper()}`": field.default
        for field in dataclasses.fields(dynamo_ext.Settings)
    }
    rows = _rows("configuration.md", "Key")
    assert sorted(row[0] for row in rows) == sorted(defaults)

    for key, _, default, *_ in rows:
        expected = defaults[key]
        assert default.startswith("none") if expected is None else _literal(default) == expected


@pytest.mark.parametrize(("assignment", "message"), _rows("configuration.md", "Value"))
def test_message_on_the_configuration_page(assignment: str, message: str) -> None:
    key, _, value = assignment.strip("`").partition(" = ")
    app = flask.Flask("app")
    app.config[key] = ast.literal_eval(value)

    with warnings.catch_warnings(), pytest.raises((dynamo_ext.ConfigError, UserWarning)) as raised:
        warnings.simplefilter("error")
        dynamo_ext.PynamoDB(app)

    assert str(raised.value) == message.strip("`")


def test_errors_page_has_every_exception_and_warning_with_its_base_and_status() -> None:
    exported = {
        name: value
        for name in {*dynamo_ext.__all__, *dynamo_ext_async.__all__}
        if isinstance(value := getattr(dynamo_ext, name, None), type)
        and issubclass(value, BaseException)
    }
    rows = {name.strip("`"): rest for name, *rest in _rows("errors.md", "error | is a")}
    assert sorted(rows) == sorted(exported)

    for name, (bases, unhandled, *_) in rows.items():
        expected = [base.__name__ for base in exported[name].__bases__]
        assert bases == ", ".join(f"`{base}`" for base in expected)
        assert unhandled == _unhandled(exported[name]), name


def _unhandled(error: type[BaseException]) -> str:
    """What the page says of an error that the app does not handle."""
    if issubclass(error, Warning):
        return "a warning"

    if issubclass(error, botocore.exceptions.BotoCoreError):
        return "as `cause`"

    return str(error.code if issubclass(error, werkzeug.exceptions.HTTPException) else 500)


def test_quart_page_names_every_awaitable_method() -> None:
    page = (DOCS / "quart.md").read_text()
    names = set(vars(dynamo_ext_async.Model)) | set(dir(dynamo_ext_async.PynamoDB))
    awaitable = {name for name in names if re.match("a[a-z]", name) and name != "add_version"}
    assert not {name for name in awaitable if f"`{name}`" not in page}


def _documented_commands() -> dict[str, str]:
    """By the name of each command in the table of them: the page that its link leads to."""
    rows = re.findall(
        r"^\| \[(.*?)\]\((.*?)(?:#.*?)?\) \|", (DOCS / "cli.md").read_text(), re.MULTILINE
    )
    return {name: page or "cli.md" for names, page in rows for name in re.findall("`(.+?)`", names)}


COMMANDS = sorted(command_group.list_commands(click.Context(command_group)))


def test_commands_page_has_every_command_and_no_other() -> None:
    assert sorted(_documented_commands()) == COMMANDS
    rows = _rows("cli.md", "command | permissions, each with `dynamodb:` before it")
    assert sorted(re.findall("`(.+?)`", " ".join(row[0] for row in rows))) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_a_command_is_on_its_page(name: str) -> None:
    command = command_group.get_command(click.Context(command_group), name)
    assert command is not None
    pages_of_it = {"cli.md", _documented_commands()[name]}
    text = "".join((DOCS / page).read_text() for page in sorted(pages_of_it))
    options = [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    ]
    assert not [option for option in options if not re.search(rf"{option}\b", text)]


def test_api_page_has_every_public_name() -> None:
    page = (DOCS / "api.md").read_text()
    documented = set(re.findall(r"\.\. auto(?:class|exception|data|function):: ([\w.]+)", page))
    names = {f"dynamo_ext.{name}" for name in dynamo_ext.__all__} | {
        f"dynamo_ext_async.{name}"
        for name in dynamo_ext_async.__all__
        if name not in dynamo_ext.__all__ or name in {"Model", "PynamoDB"}
    }
    assert not names - documented
