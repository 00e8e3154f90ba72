"""Processes that are forked without Python's knowledge, as uWSGI does: no hook of Python runs.

Each test forks in a fresh Python, by C's ``fork``. A child that hangs is ended by an alarm.
"""

from __future__ import annotations

import json
import os
import typing as t

import pytest

import engines
from authority import Authority
from conftest import RunPython
from dynamo_ext.concurrency.process_local import ProcessLocal
from stub import Answer
from stub import Request
from stub import Stub
from threads import at_once

pytestmark = [
    pytest.mark.once(reason="each test names its transport"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork"),
]

START = """
import asyncio, atexit, contextlib, ctypes, gc, json, os, pathlib, signal, sys, threading, time

import flask
from pynamodb.attributes import UnicodeAttribute

import dynamo_ext
from dynamo_ext.concurrency import decode_lock
from dynamo_ext.local import launcher
from dynamo_ext_async import Model

# A process that hangs is ended.
signal.alarm(60)
config = json.loads(sys.argv[1])
app = flask.Flask(__name__)
app.config.from_mapping(config)
db = dynamo_ext.PynamoDB(app)
app.app_context().push()


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


class Other(Item):
    class Meta:
        table_name = "other"
        read_timeout_seconds = 50


def fork(run):
    # Other threads come to rest: the lock of one that is just taking the interpreter's would be
    # taken for ever in the child, as in any process that is forked so.
    time.sleep(0.1)
    # PyDLL keeps the interpreter's lock, as those do who embed Python.
    pid = ctypes.PyDLL(None).fork()

    if pid:
        return pid

    code = 1
    signal.alarm(60)

    try:
        run()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(*pids):
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert not any(codes), codes


def get(*keys):
    for key in keys:
        assert Item.get(key).id == key, key


def sockets():
    "How many connections this process has open."
    links = pathlib.Path("/proc/self/fd").iterdir()
    count = 0

    for link in links:
        with contextlib.suppress(OSError):
            count += os.readlink(link).startswith("socket:")

    return count
"""


def run(run_warm_python: RunPython, code: str, config: dict[str, t.Any], **env: str) -> None:
    done = run_warm_python(START + code, json.dumps(config), env=env)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(params=["botocore", "direct"])
def settings(request: pytest.FixtureRequest, stub_config: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        **stub_config,
        "DYNAMODB_TRANSPORT": request.param,
        "DYNAMODB_MAX_RETRY_ATTEMPTS": 0,
        "DYNAMODB_MAX_POOL_CONNECTIONS": 2,
    }


def late(request: Request) -> Answer:
    """An answer that leaves time for another process to read it."""
    return Answer(body={"Item": request.body["Key"]}, delay=0.02)


FAMILY = """
get("parent-1", "parent-2")


def child(name):
    get(*[f"{name}-{number}" for number in range(4)])
    assert sockets() == 1, sockets()


def grandchild():
    wait(fork(lambda: child("grandchild")))
    child("second")


children = [fork(lambda: child("first")), fork(grandchild)]
get("parent-3", "parent-4", "parent-5")
wait(*children)
get("parent-6")
"""


def test_each_process_reads_its_own_answers(
    run_warm_python: RunPython, settings: dict[str, t.Any], stub: Stub
) -> None:
    stub.always("GetItem", late)
    run(run_warm_python, FAMILY, settings)
    peers = {
        name: {request.peer for request in stub.requests if name in request.content.decode()}
        for name in ("parent", "first", "second", "grandchild")
    }
    assert [len(of_one) for of_one in peers.values()] == [1] * 4
    assert len(set.union(*peers.values())) == 4
    ids = [request.header("amz-sdk-invocation-id") for request in stub.requests]
    assert len(set(ids)) == len(ids) == 6 + 3 * 4


KEPT_CLIENT = """
client = db.connection.client


def get(key):
    reply = client.get_item(TableName="item", Key={"id": {"S": key}})
    assert reply["Item"]["id"]["S"] == key, (reply, key)


get("parent-1")
get("parent-2")


def child():
    for number in range(4):
        get(f"child-{number}")


pid = fork(child)
get("parent-3")
get("parent-4")
wait(pid)
"""


def test_a_client_that_the_app_keeps_does_not_take_the_connections_of_the_parent(
    run_warm_python: RunPython, settings: dict[str, t.Any], stub: Stub
) -> None:
    """On the transport ``botocore``, its connections are botocore's own business."""
    stub.always("GetItem", late)
    run(run_warm_python, KEPT_CLIENT, {**settings, "DYNAMODB_TRANSPORT": "direct"})
    peers = {
        name: {request.peer for request in stub.requests if name in request.content.decode()}
        for name in ("parent", "child")
    }
    assert len(peers["parent"]) == 1
    assert not peers["parent"] & peers["child"]


AWAITED = """
async def aget(*keys):
    for key in keys:
        assert (await Item.aget(key)).id == key


asyncio.run(aget("parent-1", "parent-2"))
pid = fork(lambda: asyncio.run(aget("child-1", "child-2", "child-3")))
asyncio.run(aget("parent-3"))
wait(pid)
"""


def test_awaited_calls_too(run_warm_python: RunPython, stub_config: dict[str, t.Any]) -> None:
    run(run_warm_python, AWAITED, {**stub_config, "DYNAMODB_TRANSPORT": "botocore"})


BUSY = """
get("first")


def hold_slot():
    with app.app_context():
        Item.get("held")


for _ in range(2):
    threading.Thread(target=hold_slot, daemon=True).start()

while db.connection.engine.pool.in_use < 2:
    time.sleep(0.001)

ready = threading.Event()


def hold_locks():
    "As a thread does that is interrupted while it has them."
    engine = db.connection.engine
    mine = engine._mine.get()
    state = dynamo_ext.binding.context.state_of(app)
    pools = mine.client._endpoint.http_session._manager.pools
    pool = pools.get(next(iter(pools.keys())))

    with (
        decode_lock.held(), mine._lock, mine.pool._lock, state.own._engines._lock.get(),
        launcher._state.lock, pools.lock, pool.pool.mutex,
    ):
        ready.set()
        time.sleep(100)


threading.Thread(target=hold_locks, daemon=True).start()
ready.wait()


class New(Item):
    class Meta:
        table_name = "new"
        read_timeout_seconds = 40


def child():
    state = dynamo_ext.binding.context.state_of(app)
    assert state.policy.in_flight.count == 0
    assert db.connection.engine.pool.in_use == 0
    assert db.connection.engine.pool.stats().calls == 0
    get("child-1", "child-2", "child-3")
    assert len(list(Item.query("many"))) == 20
    assert Other.get("child").id == "child"
    assert New.get("child").id == "child"

    with decode_lock.held(), launcher._state.lock:
        pass

    assert state.policy.in_flight.count == 0
    assert db.connection.engine.pool.stats().calls == 4
    db.connection.engine.close()
    gc.collect()
    # As the end of an interpreter does.
    atexit._run_exitfuncs()


wait(fork(child))
os._exit(0)
"""


def test_locks_slots_and_counters_of_the_parent_are_not_those_of_the_child(
    run_warm_python: RunPython, settings: dict[str, t.Any], stub: Stub
) -> None:
    def answer(request: Request) -> Answer:
        return Answer(body={"Item": request.body["Key"]}, hold="held" in str(request.body))

    items = [{"id": {"S": str(number)}} for number in range(20)]
    stub.always("GetItem", answer)
    stub.always("Query", Answer(body={"Items": items, "Count": 20, "ScannedCount": 20}))
    run(run_warm_python, BUSY, settings)


CLIENT_IN_THE_MAKING = """

def create_client():
    with app.app_context():
        db.connection.list_tables()


threading.Thread(target=create_client, daemon=True).start()

while not os.path.exists(os.environ["STARTED"]):
    time.sleep(0.001)


def child():
    os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
    get("child")


wait(fork(child))
os._exit(0)
"""


def test_a_client_that_the_parent_is_creating_is_not_waited_for(
    run_warm_python: RunPython, stub: Stub, tmp_path: t.Any
) -> None:
    started, config = tmp_path / "started", tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = sh -c 'touch {started}; sleep 20'\n")
    settings = {"DYNAMODB_HOST": stub.url, "DYNAMODB_TRANSPORT": "botocore"}
    run(
        run_warm_python,
        CLIENT_IN_THE_MAKING,
        settings,
        AWS_CONFIG_FILE=str(config),
        STARTED=str(started),
    )


SECURE = """
get("parent-1", "parent-2")


def child():
    get("child-1")
    gc.collect()
    assert sockets() == 1, sockets()
    get("child-2")


wait(fork(child))
get("parent-3")
"""


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_nothing_is_written_to_a_connection_of_the_parent(
    run_warm_python: RunPython, secure_stub: Stub, authority: Authority, transport: str
) -> None:
    """With TLS, a message that says goodbye would end the parent's connection."""
    config = {**engines.config(secure_stub.url), "DYNAMODB_TRANSPORT": transport}
    run(run_warm_python, SECURE, config, AWS_CA_BUNDLE=str(authority.bundle))
    peers = [request.peer for request in secure_stub.requests]
    assert peers == [peers[0]] * 2 + [peers[2]] * 2 + [peers[0]]
    assert peers[0] != peers[2]


def test_threads_that_ask_at_the_same_time_get_the_same_value() -> None:
    for _ in range(20):
        local = ProcessLocal(object)

        def get(_: int, local: ProcessLocal[object] = local) -> object:
            return local.get()

        assert len(set(at_once(get, 4))) == 1
        assert local.get() is local.get()


def test_what_the_parent_has_is_abandoned_once(run_warm_python: RunPython) -> None:
    code = """
from dynamo_ext.concurrency.process_local import ProcessLocal

abandoned = []
local = ProcessLocal(list, abandon=abandoned.append)
of_parent = local.get()
assert abandoned == []


def child():
    assert local.get() is local.get() is not of_parent
    assert len(abandoned) == 1 and abandoned[0] is of_parent


wait(fork(child))
assert local.get() is of_parent
"""
    run(run_warm_python, code, {"DYNAMODB_REGION": "eu-west-1"})


def test_a_fork_while_the_id_is_asked_for_is_noticed(run_warm_python: RunPython) -> None:
    code = """
import importlib
from dynamo_ext.concurrency import process_local

importlib.reload(process_local)
getpid, pids = os.getpid, []


def getpid_and_fork():
    "As if a signal handler forked right after the system has told the id."
    told, os.getpid = getpid(), getpid
    pids.append(ctypes.PyDLL(None).fork())
    return told


os.getpid = getpid_and_fork
code = [process_local.process_id(), process_local.process_id()] != [getpid()] * 2

if not pids[0]:
    os._exit(code)

assert not code
wait(*pids)
"""
    run(run_warm_python, code, {"DYNAMODB_REGION": "eu-west-1"})


SYSTEMS = {
    "follows advice": "",
    "knows no advice": """
    def madvise(self, *advice):
        raise OSError("unknown advice")
""",
    "says that it follows any advice": """
    def madvise(self, *advice):
        pass
""",
}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_each_process_knows_its_id(system: str, run_warm_python: RunPython) -> None:
    code = f"""
import importlib, mmap
from dynamo_ext.concurrency import process_local


class Pages(mmap.mmap):
    "What the system gives."
{system}

mmap.mmap = Pages
importlib.reload(process_local)
local = process_local.ProcessLocal(os.getpid)


def knows_itself():
    assert [process_local.process_id(), local.get()] == [os.getpid()] * 2


def child():
    knows_itself()
    wait(fork(knows_itself), fork(knows_itself))
    knows_itself()


knows_itself()
wait(fork(child), fork(knows_itself))
knows_itself()
"""
    run(run_warm_python, code, {"DYNAMODB_REGION": "eu-west-1"})
