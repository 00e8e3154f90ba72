"""The embedded engine, used by plain processes instead of servers."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import typing as t

import botocore.config
import botocore.exceptions
import botocore.session
import pytest

import engines
import ports
from conftest import RunPython
from dynamo_ext.local.server import Process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/stat").exists(), reason="finds processes through /proc"
    ),
    pytest.mark.once(reason="the embedded engine is started, and called by a client of its own"),
]

DEADLINE = 100.0
_VARIABLE = "_DYNAMO_EXT_LOCAL"

# Evaluates each line of standard input and prints the result, so that a test can control it.
_APP = """
import atexit, ctypes, json, logging, multiprocessing, os, pathlib, signal, subprocess
import sys, threading, urllib.error, urllib.request

logging.basicConfig(filename="app.log", level=logging.WARNING)
urls = []


def endpoints_of_threads(count):
    barrier, found = threading.Barrier(count), []

    def ask():
        barrier.wait()
        found.append(local.endpoint())

    threads = [threading.Thread(target=ask) for _ in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return found


def endpoint_in_subprocess():
    code = "from dynamo_ext.local import launcher; print(launcher.endpoint())"
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def endpoints_in_forks(count, title=None):
    reader, writer = os.pipe()
    pids = fork(count)
    if 0 in pids:
        if title:
            set_title(title)
        os.write(writer, local.endpoint().encode() + b"\\n")
        sys.exit()
    os.close(writer)
    [os.waitpid(pid, 0) for pid in pids]
    with open(reader) as lines:
        return lines.read().split()


def fork(count):
    pids = []
    while len(pids) < count and 0 not in pids:
        pids.append(os.fork())
    return pids


def set_title(title):
    start = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45])
    ctypes.memmove(start, title.encode(), len(title))


def endpoints_of_workers(method, count):
    context = multiprocessing.get_context(method)
    barrier, results = context.Barrier(count), context.SimpleQueue()
    workers = [context.Process(target=work, args=(barrier, results)) for _ in range(count)]
    [worker.start() for worker in workers]
    found = [results.get() for _ in workers]
    [worker.join() for worker in workers]
    return found


def work(barrier, results):
    from dynamo_ext.local import launcher as local

    barrier.wait()
    results.put(local.endpoint())


def reach(urls):
    try:
        urllib.request.urlopen(*urls)
    except urllib.error.HTTPError:
        pathlib.Path("report").write_text("reached")


def pause():
    print(json.dumps("pausing"), flush=True)
    signal.pause()


def hide(*names):
    sys.meta_path[:] = [Hiding(finder, names) for finder in sys.meta_path]


class Hiding:
    def __init__(self, finder, names):
        self.finder, self.names = finder, names

    def find_spec(self, name, path=None, target=None):
        return None if name in self.names else self.finder.find_spec(name, path, target)


def restart():
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main():
    print(json.dumps("ready"), flush=True)
    while line := sys.stdin.readline():
        try:
            print(json.dumps(eval(line)), flush=True)
        except KeyboardInterrupt:
            print(json.dumps("interrupted"), flush=True)
        except Exception as error:
            print(json.dumps([type(error).__name__, str(error)]), flush=True)


if __name__ == "__main__":
    from dynamo_ext.local import launcher as local

    main()
"""


class _App:
    """A process that imports the launcher and evaluates what a test asks."""

    def __init__(self, process: subprocess.Popen[str], directory: pathlib.Path) -> None:
        self.process = process
        self.directory = directory

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
        return (self.directory / "app.log").read_text()


class _StartApp(t.Protocol):
    def __call__(self, **variables: str) -> _App: ...


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> cabc.Iterator[pathlib.Path]:
    """The working directory of a test's processes. No engine may outlive the test."""
    (tmp_path / "app.py").write_text(_APP)
    yield tmp_path
    wait_for(lambda: not running_engines(tmp_path))


@pytest.fixture
def start_app(directory: pathlib.Path) -> cabc.Iterator[_StartApp]:
    with contextlib.ExitStack() as stack:

        def start(**variables: str) -> _App:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "app.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=directory,
                env=environment(directory) | variables,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(kill_group, process)
            app = _App(process, directory)
            assert app.answer() == "ready"
            return app

        yield start


@pytest.fixture
def app(start_app: _StartApp) -> _App:
    return start_app()


def kill_group(process: subprocess.Popen[t.Any]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def environment(directory: pathlib.Path) -> dict[str, str]:
    """An environment whose processes share this directory and have no engine yet."""
    variables = engines.python_environment() | {"TMPDIR": str(directory)}
    variables.pop(_VARIABLE, None)
    return variables


def running_engines(directory: pathlib.Path) -> list[int]:
    """The process ids of the engines whose files are in this directory."""
    found: list[int] = []

    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()

            if (
                b"dynamo_ext/local/server.py" in command
                and directory in (process / "cwd").readlink().parents
            ):
                found.append(int(process.name))

    return found


def engine_files(directory: pathlib.Path) -> list[str]:
    return [file.name for file in directory.glob("dynamo-ext-*/*")]


def wait_for(condition: cabc.Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE

    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


@contextlib.contextmanager
def _client(url: str, region: str = "eu-west-1") -> cabc.Iterator[t.Any]:
    session = botocore.session.Session()
    client = session.create_client(
        "dynamodb",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=botocore.config.Config(proxies={}),
    )

    with contextlib.closing(client):
        yield client


@pytest.fixture
def client(embedded: str) -> cabc.Iterator[t.Any]:
    with _client(embedded) as client:
        yield client

        for name in client.list_tables()["TableNames"]:
            client.delete_table(TableName=name)


def _create_table(client: t.Any) -> None:
    client.create_table(
        TableName="things",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def leave_a_mark(url: str) -> None:
    with _client(url) as client:
        _create_table(client)
        client.put_item(TableName="things", Item={"id": {"S": "mark"}})


def has_the_mark(url: str) -> bool:
    with _client(url) as client:
        if "things" not in client.list_tables()["TableNames"]:
            return False

        return "Item" in client.get_item(TableName="things", Key={"id": {"S": "mark"}})


# Responses


def test_item_can_be_read_after_it_was_put(app: _App) -> None:
    url = app.ask("local.start() or local.endpoint()")

    with _client(url) as client:
        _create_table(client)
        client.put_item(TableName="things", Item={"id": {"S": "a"}, "size": {"N": "3"}})
        item = client.get_item(TableName="things", Key={"id": {"S": "a"}})["Item"]

    assert item == {"id": {"S": "a"}, "size": {"N": "3"}}


def test_errors_are_those_of_dynamodb(client: t.Any) -> None:
    key = {"id": {"S": "a"}}
    is_new = {"ConditionExpression": "attribute_not_exists(id)"}
    _create_table(client)
    client.put_item(TableName="things", Item=key)

    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as failed:
        client.put_item(
            TableName="things", Item=key, ReturnValuesOnConditionCheckFailure="ALL_OLD", **is_new
        )

    assert failed.value.response["Item"] == key

    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_item(TableName="nothing", Key=key)

    items = [{"id": {"S": "b"}}, key]
    puts = [{"Put": {"TableName": "things", "Item": item} | is_new} for item in items]

    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        client.transact_write_items(TransactItems=puts)

    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert client.scan(TableName="things")["Count"] == 1


def test_failure_of_the_engine_is_an_error_that_names_the_exception(client: t.Any) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as failed:
        client.list_global_tables()

    assert failed.value.response["Error"]["Code"] == "InternalServerError"
    assert "NotImplementedError" in failed.value.response["Error"]["Message"]


def test_no_update_is_lost(client: t.Any) -> None:
    def count(_: int) -> None:
        client.update_item(
            TableName="things",
            Key={"id": {"S": "a"}},
            UpdateExpression="ADD seen :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    _create_table(client)
    # Long enough for the interpreter to switch threads in the middle of an update.
    ballast = {"L": [{"N": str(number)} for number in range(5000)]}
    client.put_item(TableName="things", Item={"id": {"S": "a"}, "ballast": ballast})

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(40)))

    item = client.get_item(TableName="things", Key={"id": {"S": "a"}})["Item"]
    assert item["seen"] == {"N": "40"}


def test_regions_are_apart_and_may_have_any_name(client: t.Any, embedded: str) -> None:
    _create_table(client)

    with _client(embedded, "local") as other:
        assert other.list_tables()["TableNames"] == []

    assert client.list_tables()["TableNames"] == ["things"]


def test_connection_is_kept_open(embedded: str) -> None:
    port = int(embedded.rpartition(":")[2])
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Authorization": "none"}

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.connect()
        opened = connection.sock

        for _ in range(2):
            connection.request("POST", "/", b"{}", headers)
            assert "TableNames" in json.load(connection.getresponse())

        assert connection.sock is opened


def test_web_page_is_refused(embedded: str) -> None:
    port = int(embedded.rpartition(":")[2])
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Origin": "http://example.org"}

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("POST", "/", b"{}", headers)
        response = connection.getresponse()
        assert response.status == 403
        assert response.getheader("Access-Control-Allow-Origin") is None
        response.read()


def test_port_is_open_on_the_loopback_interface_alone(embedded: str) -> None:
    port = int(embedded.rpartition(":")[2])
    tables = [pathlib.Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    found = [address for address in listening if address.endswith(f":{port:04X}")]
    assert found == [f"0100007F:{port:04X}"]


# Processes that share one engine


def test_import_starts_nothing(app: _App) -> None:
    assert app.ask("local.__name__") == "dynamo_ext.local.launcher"
    assert running_engines(app.directory) == []
    assert engine_files(app.directory) == []


def test_threads_of_a_cold_process_get_one_engine(app: _App) -> None:
    urls = app.ask("endpoints_of_threads(10)")
    assert len(urls) == 10
    assert {*urls, app.ask("local.endpoint()")} == {urls[0]}
    assert len(running_engines(app.directory)) == 1


def test_subprocess_joins_and_its_end_leaves_the_engine(app: _App) -> None:
    url = app.ask("local.endpoint()")
    leave_a_mark(url)
    assert app.ask("endpoint_in_subprocess()") == url
    assert has_the_mark(app.ask("local.endpoint()"))


def test_subprocess_of_a_process_that_only_started_it_joins(app: _App) -> None:
    app.ask("local.start()")
    assert app.ask("endpoint_in_subprocess()") == app.ask("local.endpoint()")
    assert len(running_engines(app.directory)) == 1


def test_forked_child_joins_and_its_end_leaves_the_engine(app: _App) -> None:
    url = app.ask("local.endpoint()")
    leave_a_mark(url)
    assert app.ask("endpoints_in_forks(1)") == [url]
    assert has_the_mark(app.ask("local.endpoint()"))


def test_child_forked_while_a_thread_waits_for_the_engine_is_not_stuck(app: _App) -> None:
    app.ask("threading.Thread(target=local.endpoint).start()")
    assert app.ask("endpoints_in_forks(1)") == [app.ask("local.endpoint()")]


def test_waiting_for_the_engine_imports_nothing(app: _App) -> None:
    app.ask("local.start()")
    before = set(app.ask("list(sys.modules)"))
    app.ask("local.endpoint()")
    assert set(app.ask("list(sys.modules)")) == before


def test_process_that_executes_its_program_again_keeps_the_engine(app: _App) -> None:
    url = app.ask("local.endpoint()")
    leave_a_mark(url)
    assert app.ask("restart()") == "ready"
    assert app.ask("local.endpoint()") == url
    assert has_the_mark(url)
    app.end()
    assert running_engines(app.directory) == []


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_share_one_engine_with_those_that_replace_them(app: _App, method: str) -> None:
    first, second = app.ask(f"endpoints_of_workers({method!r}, 2)")
    assert first == second
    leave_a_mark(first)
    assert app.ask(f"endpoints_of_workers({method!r}, 1)") == [first]
    assert has_the_mark(first)
    assert len(running_engines(app.directory)) == 1
    assert app.ask("local.endpoint()") == first


def test_forked_workers_that_change_their_title_share_one_engine(app: _App) -> None:
    first, second = app.ask("endpoints_in_forks(2, title='worker')")
    assert first == second
    assert len(running_engines(app.directory)) == 1


def test_two_servers_have_an_engine_each(start_app: _StartApp) -> None:
    first, second = start_app(), start_app()
    assert first.ask("local.endpoint()") != second.ask("local.endpoint()")
    first.end()
    assert second.ask("local.endpoint()")
    assert len(running_engines(second.directory)) == 1


# The end of an engine


def test_engine_has_ended_when_its_owner_has(app: _App) -> None:
    app.ask("local.endpoint()")
    app.end()
    assert running_engines(app.directory) == []
    assert engine_files(app.directory) == []


def test_exit_handler_of_the_app_still_reaches_the_engine(app: _App) -> None:
    app.ask("atexit.register(reach, urls) and None")
    app.ask("local.start()")
    app.ask("urls.append(local.endpoint())")
    app.end()
    assert (app.directory / "report").read_text() == "reached"


def test_engine_ends_after_its_owner_was_killed(app: _App) -> None:
    app.ask("local.start()")
    app.kill()
    wait_for(lambda: not running_engines(app.directory))
    assert engine_files(app.directory) == []


def test_engine_that_a_worker_started_ends_with_the_server(app: _App) -> None:
    app.ask("endpoints_of_workers('spawn', 1)")
    assert len(running_engines(app.directory)) == 1
    app.kill()
    wait_for(lambda: not running_engines(app.directory))
    assert engine_files(app.directory) == []


def test_interrupt_from_the_terminal_leaves_the_engine_to_the_app(app: _App) -> None:
    url = app.ask("local.endpoint()")
    leave_a_mark(url)
    assert app.ask("pause()") == "pausing"
    os.killpg(app.process.pid, signal.SIGINT)
    assert app.answer() == "interrupted"
    assert app.ask("local.endpoint()") == url
    assert has_the_mark(url)


def test_killed_engine_is_replaced_with_a_warning(app: _App) -> None:
    leave_a_mark(app.ask("local.endpoint()"))
    _kill_engine(app.directory)
    url = app.ask("local.endpoint()")
    assert not has_the_mark(url)
    assert app.log.count("The embedded engine has died, and its tables and items with it.") == 1
    assert app.ask("local.endpoint()") == url
    assert len(running_engines(app.directory)) == 1


def test_processes_agree_on_the_replacement_of_a_killed_engine(app: _App) -> None:
    app.ask("local.endpoint()")
    _kill_engine(app.directory)
    replacement = app.ask("endpoint_in_subprocess()")
    assert app.ask("local.endpoint()") == replacement
    assert "has died" in app.log


def _kill_engine(directory: pathlib.Path) -> None:
    (engine,) = running_engines(directory)
    process = Process.of(engine)
    assert process is not None
    os.kill(engine, signal.SIGKILL)
    # A process that is ending has no command line any more, but still exists.
    wait_for(lambda: not process.is_alive())


def test_files_of_killed_engines_are_removed_by_the_next(start_app: _StartApp) -> None:
    app = start_app()
    app.ask("local.endpoint()")
    _kill_engine(app.directory)
    left = engine_files(app.directory)
    assert left
    app.kill()
    start_app().ask("local.endpoint()")
    assert not {*left} & {*engine_files(app.directory)}


# Other servers and stale addresses


def test_address_left_by_a_server_that_is_gone_is_ignored(start_app: _StartApp) -> None:
    app = start_app()
    app.ask("local.endpoint()")
    left = app.ask(f"os.environ[{_VARIABLE!r}]")
    app.kill()
    wait_for(lambda: not running_engines(app.directory))

    with _client(start_app(**{_VARIABLE: left}).ask("local.endpoint()")) as client:
        assert client.list_tables()["TableNames"] == []

    assert app.log == ""


def test_engine_whose_owner_is_gone_is_ignored_while_it_has_not_ended(
    start_app: _StartApp,
) -> None:
    app = start_app()
    url = app.ask("local.endpoint()")
    left = app.ask(f"os.environ[{_VARIABLE!r}]")
    (engine,) = running_engines(app.directory)
    os.kill(engine, signal.SIGSTOP)
    app.kill()

    try:
        assert start_app(**{_VARIABLE: left}).ask("local.endpoint()") != url
    finally:
        os.kill(engine, signal.SIGCONT)


def test_unreadable_address_is_ignored(start_app: _StartApp) -> None:
    with _client(start_app(**{_VARIABLE: "1:2:x"}).ask("local.endpoint()")) as client:
        assert client.list_tables()["TableNames"] == []


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"hello\r\n"])
def test_other_server_on_the_port_is_not_taken_for_the_engine(
    start_app: _StartApp, answer: bytes
) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    me = os.getpid()
    started = pathlib.Path(f"/proc/{me}/stat").read_text().rpartition(")")[2].split()[19]

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.server_address[1]
        app = start_app(**{_VARIABLE: f"{me}:{started}:{me}:{started}:{port}:token"})
        url = app.ask("local.endpoint()")
        server.shutdown()

    assert not url.endswith(f":{port}")

    with _client(url) as client:
        assert client.list_tables()["TableNames"] == []

    app.end()
    assert running_engines(app.directory) == []


def test_directory_that_others_may_write_to_is_refused(app: _App) -> None:
    directory = app.directory / f"dynamo-ext-{os.getuid()}"
    directory.mkdir()
    directory.chmod(0o777)
    kind, message = app.ask("local.start()")
    assert kind == "RuntimeError"
    assert message.startswith(f"'{directory}' must be a directory that belongs to the current user")


@pytest.mark.parametrize(
    "make_unusable",
    [
        "tempfile.tempdir = '/no/such/directory'",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))",
    ],
    ids=["it has vanished", "there is none"],
)
def test_unusable_directory_for_temporary_files_is_named(
    run_python: RunPython, make_unusable: str
) -> None:
    done = run_python(
        f"""
import resource, tempfile
import flask
import dynamo_ext
app = flask.Flask("app")
app.config["DYNAMODB_HOST"] = "local://"
db = dynamo_ext.PynamoDB()
{make_unusable}
db.init_app(app)
with app.app_context():
    db.connection.list_tables()
"""
    )
    error = done.stderr.splitlines()[-1]
    assert error.startswith("RuntimeError: the embedded engine needs a directory for temporary")
    assert "Set TMPDIR to a directory that exists and that this process can write to" in error


# Errors


@pytest.mark.parametrize("call", ["start", "endpoint"])
def test_missing_extra_is_a_config_error_that_says_what_to_install(app: _App, call: str) -> None:
    app.ask("hide('moto', 'flask_cors')")
    kind, message = app.ask(f"local.{call}()")
    assert kind == "ConfigError"
    assert message == (
        "'DYNAMODB_HOST' is 'local://', the embedded engine, but it is not installed (moto and"
        ' flask_cors cannot be imported). Run: pip install "dynamo-ext[local]"'
    )
    assert running_engines(app.directory) == []


def test_moto_is_not_loaded_into_the_app(app: _App) -> None:
    app.ask("local.endpoint()")
    assert app.ask("'moto' in sys.modules") is False


def test_engine_that_cannot_load_moto_is_an_error_with_its_log(app: _App) -> None:
    python = app.directory / "python"
    run = (
        "import runpy, sys; sys.modules['moto'] = None; runpy.run_path(sys.argv[1], {}, '__main__')"
    )
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -c "{run}" "$2"\n')
    python.chmod(0o700)
    app.ask(f"setattr(sys, 'executable', {str(python)!r})")
    kind, message = app.ask("local.endpoint()")
    assert kind == "RuntimeError"
    assert message.startswith("the embedded engine ended before it could answer: Traceback")
    assert "No module named 'moto" in message
    assert engine_files(app.directory) == []
    app.ask(f"setattr(sys, 'executable', {sys.executable!r})")

    with _client(app.ask("local.endpoint()")) as client:
        assert client.list_tables()["TableNames"] == []


def test_interpreter_that_fails_is_an_error_with_its_log(app: _App) -> None:
    python = app.directory / "python"
    python.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    python.chmod(0o700)
    app.ask(f"setattr(sys, 'executable', {str(python)!r})")
    kind, message = app.ask("local.start()")
    assert kind == "RuntimeError"
    assert message == "the embedded engine could not be started: out of order"
    assert engine_files(app.directory) == []


def test_files_of_the_app_do_not_hide_what_moto_needs(app: _App) -> None:
    for name in ("responses", "requests", "xmltodict"):
        (app.directory / f"{name}.py").write_text("raise RuntimeError('wrong file')")

    assert app.ask("local.endpoint()").startswith("http://127.0.0.1:")


def test_engine_ignores_the_environment_for_aws(start_app: _StartApp) -> None:
    app = start_app(
        AWS_PROFILE="nowhere",
        AWS_CONFIG_FILE="/nonexistent",
        AWS_ACCESS_KEY_ID="half a pair",
        AWS_ENDPOINT_URL="http://192.0.2.1:9",
        MOTO_ACCOUNT_ID="1",
        PYTHONWARNINGS="error",
    )

    with _client(app.ask("local.endpoint()")) as client:
        _create_table(client)
        table = client.describe_table(TableName="things")["Table"]

    assert ":123456789012:" in table["TableArn"]


# python -m dynamo_ext.local


def test_command_runs_until_it_is_terminated(directory: pathlib.Path) -> None:
    with _engine_of_command(directory) as (engine, url):
        leave_a_mark(url)
        assert has_the_mark(url)
        engine.terminate()
        assert engine.communicate(timeout=DEADLINE) == ("", "")
        assert engine.returncode == 0


def test_command_runs_on_a_given_port_until_it_is_interrupted(directory: pathlib.Path) -> None:
    port = ports.free_port()

    with _engine_of_command(directory, "--port", str(port)) as (engine, url):
        assert url == f"http://127.0.0.1:{port}"
        engine.send_signal(signal.SIGINT)
        assert engine.communicate(timeout=DEADLINE) == ("", "")
        assert engine.returncode == 0


def test_taken_port_is_an_error_of_the_command(directory: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        with _engine_of_command(directory, "--port", port) as (engine, url):
            assert url == ""
            message = engine.communicate(timeout=DEADLINE)[1]

    assert message.startswith(f"cannot listen on port {port}: ")
    assert engine.returncode == 1


@contextlib.contextmanager
def _engine_of_command(
    directory: pathlib.Path, *arguments: str
) -> cabc.Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "dynamo_ext.local", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env=environment(directory),
    ) as engine:
        try:
            assert engine.stdout is not None
            yield engine, engine.stdout.readline().strip()
        finally:
            engine.kill()
