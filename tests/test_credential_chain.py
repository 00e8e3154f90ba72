"""Credentials that botocore's chain finds on AWS, and that end."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import pathlib
import typing as t

import anyio
import anyio.to_thread
import botocore.exceptions
import pytest
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

from conftest import InApp
from dynamo_ext_async import Model
from metadata import Grant
from metadata import Metadata
from stub import Stub
from waiting import until

pytestmark = pytest.mark.wire


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


Start = cabc.Callable[..., Metadata]


@pytest.fixture
def start() -> cabc.Iterator[Start]:
    with contextlib.ExitStack() as stack:
        yield lambda *grants: stack.enter_context(Metadata(*grants))


@pytest.fixture
def config(stub: Stub) -> dict[str, t.Any]:
    """Settings without credentials."""
    return {"DYNAMODB_HOST": stub.url, "DYNAMODB_REGION": "us-east-1"}


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def assume_role(
    monkeypatch: pytest.MonkeyPatch, directory: pathlib.Path, metadata: Metadata
) -> None:
    """Use a profile that assumes a role with the keys of another."""
    profiles = directory / "config"
    profiles.write_text(
        "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = secret\n"
        "[profile app]\nrole_arn = arn:aws:iam::1:role/app\nsource_profile = base\n"
        "region = us-east-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "app")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", metadata.url)


def signers(stub: Stub) -> list[tuple[str, str | None]]:
    """Who has signed each request, and with which token."""
    return [
        (request.signature.access_key_id, request.header("X-Amz-Security-Token"))
        for request in stub.requests
    ]


def test_an_instance_has_those_of_its_role(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = start(Grant("INSTANCE"))
    use(monkeypatch, metadata.for_instances)

    with in_app(config):
        Item.get("a")
        Item.get("b")

    assert signers(stub) == [("AKIDINSTANCE", "token-INSTANCE")] * 2
    assert metadata.given == 1
    assert metadata.asked[0] == "PUT /latest/api/token"


def test_a_container_has_those_of_its_task(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = start(Grant("CONTAINER"))
    use(monkeypatch, metadata.for_containers)

    with in_app(config):
        Item.get("a")

    assert signers(stub) == [("AKIDCONTAINER", "token-CONTAINER")]
    assert metadata.asked == ["GET /container"]


def test_a_profile_may_assume_a_role(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = start(Grant("ASSUMED"))
    assume_role(monkeypatch, tmp_path, metadata)

    with in_app(config):
        Item.get("a")

    assert signers(stub) == [("AKIDASSUMED", "token-ASSUMED")]
    assert metadata.asked == ["AssumeRole arn:aws:iam::1:role/app by AKIDBASE"]


@pytest.mark.anyio
async def test_those_that_end_are_renewed_under_load_without_a_failed_call(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Botocore renews what ends within ten minutes before it is used, but for an instance's: those
    it goes on using, and asks for others some minutes later."""
    metadata = start(Grant("ENDING", minutes=5), Grant("LASTING"))
    use(monkeypatch, metadata.for_containers)
    answers: list[str] = []

    with in_app(config):

        def work() -> None:
            for number in range(10):
                answers.append(Item.get(str(number)).id)

        async def await_work() -> None:
            for number in range(10):
                answers.append((await Item.aget(str(number))).id)

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(anyio.to_thread.run_sync, work)
                tasks.start_soon(await_work)

    assert sorted(answers) == sorted([str(number) for number in range(10)] * 12)
    assert set(signers(stub)) == {("AKIDLASTING", "token-LASTING")}
    assert metadata.given == 2


@pytest.mark.anyio
async def test_renewing_them_blocks_no_event_loop(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = start(Grant("SLOW"))
    use(monkeypatch, metadata.for_containers)
    metadata.gate.clear()

    with in_app(config):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Item.aget, "a")
            await until(lambda: bool(metadata.asked))
            # This task goes on, while the other one's worker waits for them.
            assert stub.operations == []
            metadata.gate.set()

    assert signers(stub) == [("AKIDSLOW", "token-SLOW")]


def test_those_that_still_hold_are_used_while_they_cannot_be_renewed(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between fifteen and ten minutes before their end, botocore tries to renew them."""
    metadata = start(Grant("HOLDING", minutes=12))
    assume_role(monkeypatch, tmp_path, metadata)

    with in_app(config):
        Item.get("0")
        given = metadata.given
        metadata.grants.clear()
        Item.get("a")
        Item.get("b")

    assert signers(stub) == [("AKIDHOLDING", "token-HOLDING")] * 3
    assert metadata.given > given


def test_a_service_that_has_none_at_first_is_asked_again(
    in_app: InApp,
    stub: Stub,
    config: dict[str, t.Any],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = start()
    use(monkeypatch, metadata.for_instances)

    with in_app(config):
        with pytest.raises(GetError) as raised:
            Item.get("a")

        assert isinstance(raised.value.cause, botocore.exceptions.NoCredentialsError)
        assert stub.operations == []
        metadata.grants.append(Grant("LATE"))
        Item.get("a")

    assert signers(stub) == [("AKIDLATE", "token-LATE")]
