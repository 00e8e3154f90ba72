"""Signal handlers that raise at random moments of calls: time limits of tasks, Ctrl-C."""

from __future__ import annotations

import json
import typing as t

import pytest

from conftest import RunPython
from stub import DROP
from stub import Answer
from stub import Request
from stub import Stub
from stub import delayed

pytestmark = [pytest.mark.slow, pytest.mark.wire]

COMMON = """
import concurrent.futures, contextlib, faulthandler, itertools, json, logging, random
import signal, sys, threading, time

import anyio
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PynamoDBException
from quart import Quart

from dynamo_ext_async import Model, PynamoDB

faulthandler.dump_traceback_later(90, exit=True)
logging.getLogger("dynamo_ext").setLevel(logging.CRITICAL)
config, kind, rounds = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
draw = random.Random(7)
keys = map(str, itertools.count())
wrong = []

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

app = Quart("app")
app.config.from_mapping(config, DYNAMODB_MAX_POOL_CONNECTIONS=3, DYNAMODB_BASE_BACKOFF_MS=0,
                        DYNAMODB_POOL_TIMEOUT_SECONDS=20, DYNAMODB_BLOCKING_CALLS="allow")
db = PynamoDB(app)

def get():
    key = next(keys)
    found = Item.get(key).id

    if found != key:
        wrong.append((key, found))

def report():
    state = [wrong, db.pool.in_use, db.pool.waiting]

    # All slots work: as many calls as there are slots, all at once.
    if db.pool.in_use == 0:
        barrier = threading.Barrier(db.pool.size)

        def work():
            barrier.wait(60)
            get()

        with concurrent.futures.ThreadPoolExecutor(db.pool.size) as threads:
            for done in [threads.submit(work) for _ in range(db.pool.size)]:
                done.result()

    print(json.dumps(state))
"""

IN_THREADS = (
    COMMON
    + """
class SoftTimeLimit(Exception):
    pass

error = {"SoftTimeLimit": SoftTimeLimit, "KeyboardInterrupt": KeyboardInterrupt}[kind]
raised = 0

def interrupt(number, frame):
    global raised

    # A lock that is taken in Python code, as those of urllib3's queue are, stays locked for ever if
    # this raises there. No caller can help that.
    if frame.f_globals["__name__"] in {"queue", "threading"}:
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        return

    raised += 1
    raise error

def keep_slots_busy():
    try:
        while not stop.is_set():
            get()
    except Exception as error:
        wrong.append(repr(error))

signal.signal(signal.SIGALRM, interrupt)
stop = threading.Event()

others = [threading.Thread(target=keep_slots_busy) for _ in range(3)]

for other in others:
    other.start()

# A function: in Python 3.13, what is raised where a loop jumps back passes by a block around
# the loop in the same function.
def make_calls_until_interrupted():
    before = raised
    signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 8e-3))

    while raised == before:
        get()

while raised < rounds:
    # What is raised within botocore may end as an error of PynamoDB.
    with contextlib.suppress(error, PynamoDBException):
        make_calls_until_interrupted()

    signal.setitimer(signal.ITIMER_REAL, 0)

stop.set()

for other in others:
    other.join()

report()
"""
)

ON_A_LOOP = (
    COMMON
    + """
sent = 0

def send_interrupt(number, frame):
    global sent
    sent += 1
    signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGALRM, send_interrupt)

async def await_items():
    before = sent
    signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-4, 2e-2))

    # An interrupt that is raised where Python ignores errors, in a destructor, ends nothing.
    while sent == before:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(aget)

async def aget():
    key = next(keys)
    found = (await Item.aget(key)).id

    if found != key:
        wrong.append((key, found))

def is_interrupt(error):
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_interrupt, error.exceptions))

    return isinstance(error, KeyboardInterrupt)

get()

for _ in range(rounds):
    try:
        anyio.run(await_items, backend=kind)
    except BaseException as error:
        if not is_interrupt(error):
            raise

# What was on the wire runs to its end.
while db.pool.in_use:
    time.sleep(0.01)

report()
"""
)


@pytest.fixture
def patient_stub(stub: Stub) -> Stub:
    """A server that waits for the rest of requests of which only the head was sent."""

    def answer(request: Request) -> Answer:
        return stub._usual(request) if request.body else DROP

    stub.always("GetItem", delayed(0.001, answer))
    return stub


@pytest.mark.parametrize(("error", "rounds"), [("SoftTimeLimit", 1200), ("KeyboardInterrupt", 300)])
def test_handler_that_raises_within_calls_loses_no_slot(
    patient_stub: Stub,
    stub_config: dict[str, t.Any],
    run_warm_python: RunPython,
    error: str,
    rounds: int,
) -> None:
    """All slots are back, and no call gets the answer to one that was left in the middle."""
    done = run_warm_python(IN_THREADS, json.dumps(stub_config), error, str(rounds))
    assert done.stdout, done.stderr[-3000:]
    assert json.loads(done.stdout) == [[], 0, 0]
    patient_stub.wait_for(lambda: patient_stub.connections == 0)


# On trio, it is raised at any point of any task, and then a task may never wake up.
@pytest.mark.parametrize("backend", ["asyncio"])
def test_ctrl_c_within_awaited_calls_loses_no_slot(
    patient_stub: Stub, stub_config: dict[str, t.Any], run_warm_python: RunPython, backend: str
) -> None:
    done = run_warm_python(ON_A_LOOP, json.dumps(stub_config), backend, "100")
    assert done.stdout, done.stderr[-3000:]
    assert json.loads(done.stdout) == [[], 0, 0]
    assert patient_stub.peak_in_flight <= 3
    patient_stub.wait_for(lambda: patient_stub.connections == 0)
