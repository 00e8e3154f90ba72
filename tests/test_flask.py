"""What users of flask-pynamodb do works with nothing but the import line changed.

The programs here do what its quick start, its page on models and its example do.
"""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import importlib.util
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import typing as t

import httpx
import pytest

import engines
import servers
import warm

pytestmark = pytest.mark.slow

_DEADLINE = 100
# gunicorn leaves it to the garbage collector to close the socket that it was given.
_WARNINGS = ("-W", "error", "-W", "ignore:unclosed <socket.socket fd=:ResourceWarning")

QUICK_START = """
import os

from flask import Flask
from pynamodb.attributes import BooleanAttribute, UnicodeAttribute

from dynamo_ext import PynamoDB


class Config:
    DYNAMODB_HOST = os.environ["ENGINE"]
    DYNAMODB_AWS_ACCESS_KEY_ID = "test"
    DYNAMODB_AWS_SECRET_ACCESS_KEY = "test"
    DYNAMODB_READ_CAPACITY_UNITS = 10
    DYNAMODB_WRITE_CAPACITY_UNITS = 10
    DYNAMODB_TABLE_NAME_PREFIX = os.environ["PREFIX"]


app = Flask(__name__)
app.config.from_object(Config)
db = PynamoDB(app)


class Todo(db.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute()
    description = UnicodeAttribute()
    done = BooleanAttribute(default=False)


@app.route("/todo")
def names():
    return [todo.name for todo in Todo.scan()]


@app.route("/todo/<todo_id>")
def name(todo_id):
    return Todo.get_or_404(todo_id).name


@app.route("/worded/<todo_id>")
def worded(todo_id):
    return Todo.get_or_404(hash_key=todo_id, message=f"No to-do {todo_id} here").name


@app.route("/pid")
def pid():
    return [os.getpid(), *names()]
"""

MODELS = """
from uuid import uuid4

from quick_start import Todo

Todo.create_table(wait=True)

todo = Todo(str(uuid4()), name="tea", description="make some")
todo.save()
again = Todo.get(todo.id)
assert (again.name, again.description, again.done) == ("tea", "make some", False)
assert Todo.get_or_404(todo.id).name == Todo.first_or_404().name == "tea"
assert [each.id for each in Todo.scan()] == [todo.id]
capacity = Todo.describe_table()["ProvisionedThroughput"]
assert (capacity["ReadCapacityUnits"], capacity["WriteCapacityUnits"]) == (10, 10)

try:
    Todo.get("missing")
except Todo.DoesNotExist:
    print("missing")

todo.delete()

try:
    Todo.first_or_404()
except Exception as error:
    print(error.code)
"""

EXAMPLE_CONFIG = """
import os


class Config:
    DYNAMODB_HOST = os.environ.get("DYNAMODB_HOST", "http://localhost:8000")
    DYNAMODB_AWS_ACCESS_KEY_ID = os.environ.get("DYNAMODB_AWS_ACCESS_KEY_ID", "test")
    DYNAMODB_AWS_SECRET_ACCESS_KEY = os.environ.get("DYNAMODB_AWS_SECRET_ACCESS_KEY", "test")
    DYNAMODB_READ_CAPACITY_UNITS = os.environ.get("DYNAMODB_READ_CAPACITY_UNITS", 10)
    DYNAMODB_WRITE_CAPACITY_UNITS = os.environ.get("DYNAMODB_WRITE_CAPACITY_UNITS", 10)
    DYNAMODB_TABLE_NAME_PREFIX = os.environ["PREFIX"]
"""

EXAMPLE = """
from uuid import uuid4

from config import Config
from flask import Flask, render_template
from pynamodb.attributes import BooleanAttribute, UnicodeAttribute

from dynamo_ext import PynamoDB

app = Flask(__name__)
app.config.from_object(Config)
db = PynamoDB(app)


class Todo(db.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute()
    description = UnicodeAttribute()
    done = BooleanAttribute(default=False)


def fill():
    for number in range(10):
        Todo(str(uuid4()), name=f"Number {number}", description="A task", done=number % 2).save()


@app.route("/")
def index():
    return render_template("index.html", todos=list(Todo.scan()))


@app.route("/capacity")
def capacity():
    throughput = Todo.describe_table()["ProvisionedThroughput"]
    return [throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]]


if __name__ == "__main__":
    Todo.create_table(wait=True)
    fill()
    app.run(debug=True, port=0)
"""

TEMPLATE = """
<ul>
{% for todo in todos if not todo.done %}
<li>{{ todo.name }}: {{ todo.description }}</li>
{% endfor %}
</ul>
"""


@pytest.fixture
def project(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with the user's programs."""
    (tmp_path / "templates").mkdir()

    for name, text in {
        "quick_start.py": QUICK_START,
        "models.py": MODELS,
        "config.py": EXAMPLE_CONFIG,
        "app.py": EXAMPLE,
        "templates/index.html": TEMPLATE,
    }.items():
        (tmp_path / name).write_text(text)

    return tmp_path


@pytest.fixture
def environment(
    engine: str, project: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What the user's programs find in their environment."""
    inherited = engines.python_environment()
    variables = {
        "ENGINE": engine,
        "DYNAMODB_HOST": engine,
        "DYNAMODB_READ_CAPACITY_UNITS": "3",
        "DYNAMODB_WRITE_CAPACITY_UNITS": "4",
        "PREFIX": engines.config(engine)["DYNAMODB_TABLE_NAME_PREFIX"],
        "PYTHONPATH": os.pathsep.join([str(project), inherited["PYTHONPATH"]]),
        # They are run again and again, and their sources may be as old to the second.
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    return {**inherited, **variables}


def run(
    environment: dict[str, str], *arguments: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of the user, or one of Flask's commands."""
    done = warm.run(
        [sys.executable, "-W", "error", *arguments],
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        cwd=environment["PYTHONPATH"].split(os.pathsep)[0],
        timeout=_DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    return done


def load(path: pathlib.Path) -> t.Any:
    """Import a program of the user, without anyone else seeing it."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module: types.ModuleType = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served(app: t.Any) -> cabc.Iterator[httpx.Client]:
    with (
        servers.in_a_thread(app) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=_DEADLINE) as client,
    ):
        yield client


@pytest.mark.usefixtures("environment")
def test_the_quick_start(project: pathlib.Path) -> None:
    module = load(project / "quick_start.py")
    # As the user does in a shell: without an app context.
    module.Todo.create_table(wait=True)

    with served(module.app) as client:
        assert client.get("/todo").json() == []
        assert client.get("/todo/1").status_code == 404

        module.Todo("1", name="tea", description="make some").save()
        assert client.get("/todo").json() == ["tea"]
        assert client.get("/todo/1").text == "tea"
        assert client.get("/worded/1").text == "tea"

        missing = client.get("/worded/2")
        assert missing.status_code == 404
        assert "No to-do 2 here" in missing.text


def test_the_page_on_models(environment: dict[str, str]) -> None:
    assert run(environment, "models.py").stdout.split() == ["missing", "404"]


def test_the_example(environment: dict[str, str], project: pathlib.Path) -> None:
    log_path = project / "log"

    with log_path.open("wb") as log:
        process: warm.Popen[bytes] = warm.Popen(
            # In debug mode, its view that scans is advised not to.
            [sys.executable, "-W", "error", "-W", "ignore:A scan of:UserWarning", "app.py"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=project,
            # With its reloader, it is two processes.
            start_new_session=True,
        )

    try:
        url = wait_for_url(process, log_path)
        page = get(url).text
        assert "Number 0: A task" in page
        assert "Number 1: A task" not in page
        assert get(f"{url}/capacity").json() == [3, 4]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_DEADLINE)

    assert "Traceback" not in log_path.read_text()


def wait_for_url(process: subprocess.Popen[bytes], log: pathlib.Path) -> str:
    """Wait until a development server has written where it listens, and its reloader is ready."""
    end = time.monotonic() + _DEADLINE

    while "Debugger PIN" not in (text := log.read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < end, text
        time.sleep(0.02)

    found = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert found is not None
    return found[0]


def test_gunicorn_with_two_workers(environment: dict[str, str], project: pathlib.Path) -> None:
    # What is used before gunicorn forks must work after it.
    with (project / "quick_start.py").open("a") as module:
        module.write("\nTodo.exists()\n")

    run(
        environment,
        "-c",
        "from quick_start import Todo\n"
        "Todo.create_table(wait=True)\n"
        "Todo('1', name='tea', description='').save()",
    )
    pids: set[int] = set()
    end = time.monotonic() + _DEADLINE

    with (
        gunicorn(environment, "quick_start:app", "--workers=2", "--preload") as url,
        concurrent.futures.ThreadPoolExecutor(8) as threads,
    ):
        while len(pids) < 2:
            assert time.monotonic() < end
            answers = list(threads.map(get, [f"{url}/pid"] * 8))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.json()[1] for answer in answers} == {"tea"}
            pids |= {answer.json()[0] for answer in answers}


def get(url: str) -> httpx.Response:
    """Get a page on a connection of its own."""
    return httpx.get(url, trust_env=False, timeout=_DEADLINE)


@contextlib.contextmanager
def gunicorn(environment: dict[str, str], *arguments: str) -> cabc.Iterator[str]:
    """Run gunicorn until the end of the block, and make sure that it has had no trouble."""
    project = environment["PYTHONPATH"].split(os.pathsep)[0]

    with (
        tempfile.TemporaryFile() as log,
        # It inherits a socket that listens already: no request comes too early.
        socket.create_server((engines.HOST, 0)) as listener,
    ):
        process: warm.Popen[bytes] = warm.Popen(
            [
                *(sys.executable, *_WARNINGS, "-m", "gunicorn"),
                *("--bind", f"fd://{listener.fileno()}", "--log-level=warning", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its control socket goes into the runtime directory.
            env={**environment, "XDG_RUNTIME_DIR": project},
            cwd=project,
            pass_fds=[listener.fileno()],
        )

        try:
            yield f"http://{engines.HOST}:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(_DEADLINE)

        log.seek(0)
        assert (process.returncode, log.read().decode()) == (0, "")


def test_flask_shell_knows_the_extension_and_the_models(environment: dict[str, str]) -> None:
    lines = [
        "Todo.create_table(wait=True)",
        "_ = Todo('1', name='tea', description='').save()",
        "print('found', [todo.name for todo in Todo.scan()])",
        "print('region', db.settings.region)",
        "print('app', app.extensions['pynamodb'] is db)",
    ]
    shell = run(
        environment, "-m", "flask", "--app", "quick_start", "shell", text="\n".join(lines) + "\n"
    )
    assert "found ['tea']" in shell.stdout
    assert "region us-east-1" in shell.stdout
    assert "app True" in shell.stdout
    assert "Error" not in shell.stdout + shell.stderr
