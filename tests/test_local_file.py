"""``DYNAMODB_HOST = "local:///todo.db"``: apps whose embedded engine keeps its tables in a file."""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import typing as t

import flask
import pytest
import quart
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
import dynamo_ext_async
import ports
from conftest import RunPython
from dynamo_ext import ConfigError
from dynamo_ext.config import local_file
from dynamo_ext.local import __main__
from dynamo_ext.local import lock
from dynamo_ext.local import sharing
from dynamo_ext.local.server import Process
from test_local import DEADLINE
from test_local import environment
from test_local import has_the_mark
from test_local import kill_group
from test_local import leave_a_mark
from test_local import wait_for

pytestmark = [
    pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="kills processes"),
    pytest.mark.once(reason="the embedded engine is started, and its data are looked at"),
]

# Evaluates each line of standard input and prints the result, so that a test can control it.
_USER = """
import json, logging, os, pathlib, sys, time
import flask
import dynamo_ext
from pynamodb.attributes import UnicodeAttribute

logging.basicConfig(filename=f"log.{os.getpid()}", level=logging.WARNING)


class Todo(dynamo_ext.Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)


def open_app(host, folder):
    app = flask.Flask("user", instance_path=os.path.abspath(folder))
    app.config["DYNAMODB_HOST"] = host
    globals().update(app=app, db=dynamo_ext.PynamoDB(app))


def url():
    return db.connection.client.meta.endpoint_url


def save(id):
    if not Todo.exists():
        Todo.create_table(wait=True)
    Todo(id).save()


def ids():
    return sorted(todo.id for todo in Todo.scan()) if Todo.exists() else []


def save_in_forks(*new):
    pids = []
    for id in new:
        pids.append(os.fork())
        if pids[-1] == 0:
            save(id)
            os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def fork_and_save(id, *, after):
    # The child goes on when this process has ended.
    if os.fork() == 0:
        while os.getppid() == after:
            time.sleep(0.01)
        pathlib.Path("url").write_text(url())
        save(id)
        pathlib.Path("saved").touch()
        while not pathlib.Path("end").exists():
            time.sleep(0.01)
        os._exit(0)


def main():
    open_app(*sys.argv[1:])
    print(json.dumps("ready"), flush=True)
    while line := sys.stdin.readline():
        try:
            print(json.dumps(eval(line)), flush=True)
        except Exception as error:
            print(json.dumps([type(error).__name__, str(error)]), flush=True)


main()
"""


class User:
    """A process with an app whose engine has a file."""

    def __init__(self, folder: pathlib.Path, host: str, instance: str, errors: t.IO[bytes]) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-c", _USER, host, instance],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment(folder),
            start_new_session=True,
        )

    def ask(self, expression: str) -> t.Any:
        self.tell(expression)
        return self.answer()

    def tell(self, expression: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def answer(self) -> t.Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(DEADLINE) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return (self.folder / f"log.{self.process.pid}").read_text()


class StartUser(t.Protocol):
    def __call__(self, host: str = ..., instance: str = ...) -> User: ...


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> cabc.Iterator[pathlib.Path]:
    """The folder of a test's processes. No engine may outlive the test."""
    yield tmp_path
    wait_for(lambda: not engines_of(tmp_path))


@pytest.fixture
def start_user(folder: pathlib.Path) -> cabc.Iterator[StartUser]:
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context((folder / "errors").open("wb"))

        def start(host: str = "local:///todo.db", instance: str = "instance") -> User:
            user = User(folder, host, instance, errors)
            stack.enter_context(user.process)
            stack.callback(kill_group, user.process)
            assert user.answer() == "ready", (folder / "errors").read_text()
            return user

        yield start


class OpenFile(t.Protocol):
    def __call__(self, name: str) -> sharing.FileEngine: ...


@pytest.fixture
def open_file(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> cabc.Iterator[OpenFile]:
    """Uses the engine of a file in this process."""
    used: list[sharing.FileEngine] = []
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def use(name: str) -> sharing.FileEngine:
        used.append(sharing.engine(folder / name))
        return used[-1]

    yield use

    for each in used:
        each.leave()


def engines_of(folder: pathlib.Path) -> list[int]:
    """The process ids of the engines whose temporary files are in this folder."""
    found: list[int] = []

    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()

            if (
                b"dynamo_ext/local/server.py" in command
                and folder in (process / "cwd").readlink().parents
            ):
                found.append(int(process.name))

    return found


def kill_engine(folder: pathlib.Path) -> None:
    (engine,) = engines_of(folder)
    process = Process.of(engine)
    assert process is not None
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: not process.is_alive())


# What a host means


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("local://todo.db", "the path of a file follows three slashes, as in 'local:///todo.db'."),
        ("local:///", "the name of a file must follow, as in 'local:///todo.db'."),
        ("local:///data/", "the name of a file must follow, as in 'local:///todo.db'."),
        ("local:///todo.db?mode=ro", "the name of a file is taken as it is"),
        ("local:///todo.db#1", "the name of a file is taken as it is"),
        ("local:////no/such/folder/todo.db", "there is no folder '/no/such/folder'."),
    ],
)
@pytest.mark.parametrize("adapter", [(flask.Flask, dynamo_ext), (quart.Quart, dynamo_ext_async)])
def test_host_that_names_no_file_is_a_config_error(
    host: str, message: str, adapter: tuple[t.Any, t.Any], tmp_path: pathlib.Path
) -> None:
    make_app, package = adapter
    app = make_app("app", instance_path=str(tmp_path))
    app.config["DYNAMODB_HOST"] = host

    with pytest.raises(ConfigError) as refused:
        package.PynamoDB(app)

    assert str(refused.value).startswith("'DYNAMODB_HOST' is ")
    assert f": {message}" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_relative_path_is_in_the_instance_folder_which_is_created(tmp_path: pathlib.Path) -> None:
    folder = str(tmp_path / "instance")
    host = local_file.resolve("local:///todo.db", folder)
    assert host == f"local:///{folder}/todo.db"
    assert (tmp_path / "instance").is_dir()
    # The same file, named in other ways.
    (tmp_path / "link.db").symlink_to("instance/todo.db")
    assert local_file.resolve(f"local:///{tmp_path}/link.db", "/nowhere") == host
    assert local_file.resolve("local:///../instance/./todo.db", folder) == host
    assert local_file.resolve("local://", "/nowhere") == "local://"
    assert local_file.resolve(None, "/nowhere") is None


@pytest.mark.parametrize("made", ["folder", "other file", "newer file"])
def test_file_that_cannot_be_used_is_a_config_error_and_left_alone(
    tmp_path: pathlib.Path, made: str
) -> None:
    file = tmp_path / "todo.db"
    content = {"other file": b"id,title\n", "newer file": b"dynamo-ext tables, format 2\n"}

    if made == "folder":
        file.mkdir()
    else:
        file.write_bytes(content[made])

    app = flask.Flask("app", instance_path=str(tmp_path))
    app.config["DYNAMODB_HOST"] = "local:///todo.db"

    with pytest.raises(ConfigError, match=f"^'{file}' "):
        dynamo_ext.PynamoDB(app)

    if made != "folder":
        assert file.read_bytes() == content[made]

    assert list(tmp_path.iterdir()) == [file]


def test_missing_folder_below_the_instance_folder_is_a_config_error(tmp_path: pathlib.Path) -> None:
    app = flask.Flask("app", instance_path=str(tmp_path))
    app.config["DYNAMODB_HOST"] = "local:///data/todo.db"

    with pytest.raises(ConfigError, match=f"there is no folder '{tmp_path}/data'"):
        dynamo_ext.PynamoDB(app)


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_file_that_may_not_be_written_to_is_a_config_error(
    run_python: RunPython, read_only: str
) -> None:
    # Not in the folder of the tests, which other users may not even enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        file = pathlib.Path(folder, "todo.db")
        file.touch(0o444)
        file.parent.chmod(0o777 if read_only == "file" else 0o555)
        # The superuser may write anywhere, so it becomes another user.
        done = run_python(
            f"""
import os, pathlib
import moto, flask_cors
from dynamo_ext.local import sharing
if os.getuid() == 0:
    os.setuid(65534)
sharing.engine(pathlib.Path({str(file)!r}))
"""
        )

    denied = str(file) if read_only == "file" else folder
    assert f"ConfigError: The embedded engine cannot write to {denied!r}" in done.stderr


# One engine for all


@pytest.mark.slow
def test_processes_share_one_engine_which_ends_with_the_last(start_user: StartUser) -> None:
    first = start_user()
    # The same file, by another path.
    second = start_user(f"local:///{first.folder}/instance/todo.db", "elsewhere")
    url = first.ask("url()")
    assert second.ask("url()") == url
    assert first.ask("ids()") == []
    first.ask("save('a')")
    assert second.ask("ids()") == ["a"]
    # A command that ends, and a server that is killed.
    first.end()
    second.ask("save('b')")
    assert second.ask("url()") == url
    assert len(engines_of(first.folder)) == 1
    second.kill()
    wait_for(lambda: not engines_of(first.folder))
    assert [each.name for each in (first.folder / "instance").iterdir()] == ["todo.db"]
    assert list(first.folder.glob("dynamo-ext-*/*")) == []
    assert start_user().ask("ids()") == ["a", "b"]


@pytest.mark.slow
def test_processes_that_start_at_once_agree_on_one_engine(folder: pathlib.Path) -> None:
    program = """
import os, pathlib, sys, time
from dynamo_ext.local import sharing
pids = []
while len(pids) < 6 and 0 not in pids:
    pids.append(os.fork())
if 0 in pids:
    # Kept: the engine ends with the last object that uses it.
    engine = sharing.engine(pathlib.Path("todo.db").resolve())
    url = engine.endpoint()
    pathlib.Path(f"url.{os.getpid()}").write_text(url)
    while len(list(pathlib.Path().glob("url.*"))) < 6:
        time.sleep(0.01)
else:
    sys.exit(sum(os.waitpid(pid, 0)[1] for pid in pids))
"""
    command = [sys.executable, "-P", "-c", program]
    subprocess.run(command, cwd=folder, env=environment(folder), check=True)
    urls = {file.read_text() for file in folder.glob("url.*")}
    assert len(urls) == 1


@pytest.mark.slow
def test_forks_share_the_engine_and_keep_it_when_their_parent_has_ended(
    start_user: StartUser,
) -> None:
    user = start_user()
    # Forked before the first call, and after it.
    assert user.ask("save_in_forks('a', 'b')") == [0, 0]
    url = user.ask("url()")
    assert user.ask("save_in_forks('c', 'd')") == [0, 0]
    user.ask(f"fork_and_save('e', after={user.process.pid})")
    user.end()
    wait_for((user.folder / "saved").exists)
    assert (user.folder / "url").read_text() == url
    assert start_user().ask("ids()") == ["a", "b", "c", "d", "e"]
    (user.folder / "end").touch()


@pytest.mark.slow
def test_killed_engine_is_replaced_by_one_with_the_same_items(
    start_user: StartUser, open_file: OpenFile, caplog: pytest.LogCaptureFixture
) -> None:
    user = start_user()
    user.ask("save('a')")
    shared = open_file("instance/todo.db")
    assert shared.endpoint() == user.ask("url()")
    kill_engine(user.folder)
    url = shared.endpoint()
    assert user.ask("ids()") == ["a"]
    user.ask("save('b')")
    assert user.ask("url()") == url
    assert shared.endpoint() == url
    assert len(engines_of(user.folder)) == 1
    expected = "/instance/todo.db' has died. A new one takes its place, with the same tables and"
    assert user.log.count(expected) == caplog.text.count(expected) == 1


@pytest.mark.slow
def test_damaged_end_is_cut_off_with_a_warning_and_other_damage_is_an_error(
    open_file: OpenFile, caplog: pytest.LogCaptureFixture, folder: pathlib.Path
) -> None:
    shared = open_file("todo.db")
    leave_a_mark(shared.endpoint())
    shared.leave()
    wait_for(lambda: not engines_of(folder))
    file = folder / "todo.db"
    content = file.read_bytes()
    file.write_bytes(content + b"0000")
    assert has_the_mark(shared.endpoint())
    assert f"The end of '{file}' was damaged. 4 bytes, from byte {len(content)} on" in caplog.text
    assert file.read_bytes() == content
    kill_engine(folder)
    content = content.replace(b'"things"', b'"THINGS"', 1)
    file.write_bytes(content)

    with pytest.raises(RuntimeError) as failed:
        shared.endpoint()

    message = str(failed.value)
    assert f"the embedded engine ended before it could answer: '{file}' is damaged at" in message
    assert "Traceback" not in message
    assert file.read_bytes() == content


def test_engine_that_cannot_be_reached_is_an_error(
    open_file: OpenFile, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = lock.Lock.take(lock.path_for(folder / "todo.db"))
    assert taken is not None
    monkeypatch.setattr(sharing, "_JOIN_TIMEOUT", 0.1)

    with pytest.raises(RuntimeError, match="another engine has the file"):
        open_file("todo.db").start()

    taken.remove()
    assert list(folder.glob("*.lock")) == []


@pytest.mark.slow
def test_models_may_name_a_file_of_their_own(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Todo(dynamo_ext_async.Model):
        class Meta:
            table_name = "todo"
            host = "local:///own.db"

        id = UnicodeAttribute(hash_key=True)

    async def save_and_read() -> list[str]:
        async with app.app_context():
            await Todo.acreate_table(wait=True)
            await Todo("a").asave()
            return [todo.id async for todo in Todo.ascan()]

    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    app = quart.Quart("app", instance_path=str(folder / "instance"))
    app.config["DYNAMODB_HOST"] = "http://127.0.0.1:1"
    dynamo_ext_async.PynamoDB(app)
    assert asyncio.run(save_and_read()) == ["a"]
    assert b'"put":{"id":{"S":"a"}}' in (folder / "instance" / "own.db").read_bytes()
    # Not later, when the app is collected.
    sharing._leave()


# SIGKILL

_WRITERS = """
import http.client, json, os, pathlib, random, signal, sys, time
from dynamo_ext.local import sharing

path = pathlib.Path("todo.db").resolve()
HEADERS = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=a/20000101/eu-west-1/dynamodb/x",
    "Content-Type": "application/x-amz-json-1.0",
}


def call(operation, request):
    url = sharing.engine(path).endpoint()
    headers = HEADERS | {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/", json.dumps(request), headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    assert response.status == 200, body
    return body


def write(name, acknowledged):
    number = 0
    keep = sharing.engine(path)
    while True:
        number += 1
        id = f"{name}.{number}"
        try:
            call("PutItem", {"TableName": "todo", "Item": {"id": {"S": id}, "x": {"S": id * 20}}})
        except (OSError, http.client.HTTPException):
            continue
        os.write(acknowledged, f"{id}\\n".encode())
        # Two that write as fast as they can leave no time to those that start.
        time.sleep(0.002)


def fork_writer(name, acknowledged):
    pid = os.fork()
    if pid == 0:
        write(name, acknowledged)
    return pid


def wait_for_line(lines):
    while not (line := lines.readline()):
        time.sleep(0.001)
    return line.strip()


def stored():
    return {line.rpartition('"put":{"id":{"S":"')[2].partition('"')[0]
            for line in path.read_text().splitlines() if line.endswith("}")}


def main(rounds):
    # The engine is started in a process of its own: this one forks writers that know none.
    if (pid := os.fork()) == 0:
        keep = sharing.engine(path)
        call("CreateTable", {
            "TableName": "todo",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        })
        pathlib.Path("ready").touch()
        signal.pause()

    while not pathlib.Path("ready").exists():
        time.sleep(0.001)

    file = os.open("acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    server, command = fork_writer("server", file), fork_writer("command", file)
    lines = open("acknowledged")
    chance = random.Random(7)

    for round in range(rounds):
        wait_for_line(lines)
        time.sleep(chance.uniform(0, 0.02))
        engine = json.loads(path.with_name("todo.db.lock").read_text())[0]

        match round % 4:
            case 0:
                os.kill(engine, signal.SIGKILL)
            case 1:
                os.kill(server, signal.SIGKILL)
                os.waitpid(server, 0)
                server = fork_writer(f"server{round}", file)
            case _:
                os.kill(command, signal.SIGKILL)
                os.waitpid(command, 0)
                command = fork_writer(f"command{round}", file)

        known = pathlib.Path("acknowledged").read_text().split()
        missing = set(known) - stored()
        assert not missing, (round, missing)
        lines.seek(0, 2)

    for each in (server, command, pid, engine):
        os.kill(each, signal.SIGKILL)
    while sharing.Process.of(engine):
        time.sleep(0.001)

    keep = sharing.engine(path)
    found = call("Scan", {"TableName": "todo"})["Items"]
    missing = set(pathlib.Path("acknowledged").read_text().split()) - {i["id"]["S"] for i in found}
    print(len(found), sorted(missing))


main(int(sys.argv[1]))
"""


@pytest.mark.slow
def test_every_acknowledged_write_survives_sigkill(folder: pathlib.Path) -> None:
    (folder / "writers.py").write_text(_WRITERS)
    done = subprocess.run(
        [sys.executable, "-P", "writers.py", "20"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=200,
    )
    count, _, missing = done.stdout.partition(" ")
    assert missing == "[]\n", done.stderr
    assert int(count) > 20


# python -m dynamo_ext.local --file


@contextlib.contextmanager
def command(
    folder: pathlib.Path, *arguments: str
) -> cabc.Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-m", "dynamo_ext.local", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.slow
def test_command_serves_a_file_on_a_port_and_shares_it(
    folder: pathlib.Path, open_file: OpenFile, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(ports.free_port())

    with command(folder, "--port", port, "--file", "todo.db") as (process, url):
        assert url == f"http://127.0.0.1:{port}"
        leave_a_mark(url)
        shared = open_file("todo.db")
        assert has_the_mark(shared.endpoint())
        assert len(engines_of(folder)) == 1

        with pytest.raises(SystemExit) as ended:
            __main__.main(["--port", port, "--file", str(folder / "todo.db")])

        assert ended.value.code == 1
        message = capsys.readouterr().err
        assert message.startswith(f"cannot listen on port {port}: ")
        assert "Address already in use" in message
        process.terminate()
        assert process.communicate(timeout=DEADLINE) == ("", "")
        assert process.returncode == 0
        # The port goes with the command. The engine stays: another process uses it.
        wait_for(lambda: is_closed(int(port)))
        assert has_the_mark(shared.endpoint())

    with command(folder, "--file", "todo.db") as (process, url):
        assert url == shared.endpoint()
        kill_engine(folder)
        assert process.communicate(timeout=DEADLINE)[1] == (
            "the embedded engine has died; start it again, nothing is lost\n"
        )
        assert process.returncode == 1


def is_closed(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_wrong_file_is_an_error_of_the_command(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--file", str(folder / "none" / "todo.db")])

    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("The embedded engine is to keep its tables in")
    assert f"there is no folder '{folder}/none'" in message


@pytest.mark.slow
def test_address_that_cannot_be_printed_is_not_said_to_be_a_port(folder: pathlib.Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dynamo_ext.local", "--file", "todo.db"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment(folder),
            timeout=DEADLINE,
        )

    assert done.stderr.startswith("the embedded engine cannot be served: [Errno 28] No space left")
    assert done.returncode != 0
