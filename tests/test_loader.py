"""botocore's data files: read once, no more of them than needed, and with the same content."""

from __future__ import annotations

import collections.abc as cabc
import json
import os
import pathlib
import typing as t

import botocore.exceptions
import botocore.loaders
import botocore.session
import pytest

from conftest import InApp
from dynamo_ext.client import loader as loader_module
from dynamo_ext.client.loader import shared_loader

pytestmark = pytest.mark.once(reason="both transports have botocore's client")


@pytest.fixture
def loader() -> botocore.loaders.Loader:
    """A loader that has read nothing yet."""
    return shared_loader.__wrapped__(None)


def stock_loader() -> botocore.loaders.Loader:
    """botocore's own loader, which shares nothing with those that clients have used."""
    return botocore.loaders.Loader(file_loader=botocore.loaders.JSONFileLoader())


@pytest.fixture
def session(in_app: InApp, stub_config: dict[str, t.Any]) -> t.Iterator[botocore.session.Session]:
    """The session of an engine, which the app may use for other services."""
    with in_app(stub_config) as db:
        yield db.connection.session


def test_engines_share_what_was_read(
    in_app: InApp, stub_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first client reads botocore's data files, and no other client does."""
    read: list[str] = []
    load_file = loader_module._Files.load_file

    def recorded(self: t.Any, file_path: str) -> t.Any:
        read.append(file_path)
        return load_file(self, file_path)

    with in_app(stub_config) as db:
        assert db.connection.client

    monkeypatch.setattr(loader_module._Files, "load_file", recorded)
    shared_loader.__wrapped__(None).load_data("endpoints")
    assert read
    read.clear()

    with in_app(stub_config, DYNAMODB_REGION="eu-west-1") as db:
        assert db.connection.client

    assert read == []


@pytest.mark.parametrize("name", ["endpoints", "partitions", "sdk-default-configuration"])
def test_file_has_the_same_content(loader: botocore.loaders.Loader, name: str) -> None:
    expected = stock_loader().load_data(name)
    assert _in_order(loader.load_data(name)) == _in_order(expected)


def test_endpoints_of_a_service_are_parsed_when_they_are_asked_for(
    loader: botocore.loaders.Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: t.Any = t.cast(t.Any, loader).load_data("endpoints")
    parsed: list[int] = []
    parse = loader_module._from_json

    def recorded(content: bytes) -> t.Any:
        parsed.append(len(content))
        return parse(content)

    monkeypatch.setattr(loader_module, "_from_json", recorded)
    services = table["partitions"][0]["services"]
    assert len(services) > 100
    assert ("dynamodb" in services, "nonsense" in services) == (True, False)
    assert parsed == []
    assert "eu-west-1" in services["dynamodb"]["endpoints"]
    assert services.get("dynamodb") is services["dynamodb"]
    assert services.get("nonsense") is None
    assert len(parsed) == 1


@pytest.mark.parametrize("service", ["dynamodb", "sts"])
@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "waiters-2"])
def test_service_has_the_same_content(
    loader: botocore.loaders.Loader, service: str, kind: str
) -> None:
    stock = stock_loader()

    if service not in stock.list_available_services(kind):
        with pytest.raises(botocore.exceptions.UnknownServiceError):
            loader.load_service_model(service, kind)

        return

    expected = stock.load_service_model(service, kind)
    assert _in_order(loader.load_service_model(service, kind)) == _in_order(expected)


def _in_order(value: t.Any) -> t.Any:
    """A value in which the order of dictionaries counts."""
    if isinstance(value, cabc.Mapping):
        return [(key, _in_order(each)) for key, each in value.items()]

    return [_in_order(each) for each in value] if isinstance(value, list) else value


def test_file_that_is_missing_is_named(loader: botocore.loaders.Loader) -> None:
    with pytest.raises(botocore.exceptions.DataNotFoundError, match="no-such-file"):
        loader.load_data("no-such-file")


def test_no_other_service_is_looked_for(
    loader: botocore.loaders.Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    list_versions = botocore.loaders.Loader.list_api_versions

    def recorded(self: t.Any, service: str, kind: str) -> t.Any:
        looked.append(service)
        return list_versions(self, service, kind)

    monkeypatch.setattr(botocore.loaders.Loader, "list_api_versions", recorded)
    list_directory = os.listdir

    def list_recorded(path: str) -> list[str]:
        looked.append(pathlib.Path(path).name)
        return list_directory(path)

    monkeypatch.setattr(os, "listdir", list_recorded)
    loader.load_service_model("dynamodb", "service-2")
    assert set(looked) == {"dynamodb"}


def test_session_lists_all_services(session: botocore.session.Session) -> None:
    stock = botocore.session.get_session().get_available_services()
    services = session.get_available_services()
    assert list(services) == stock
    assert (len(services), services[0], services[-2:]) == (len(stock), stock[0], stock[-2:])
    assert "dynamodb" in services
    assert "nonsense" not in services


def test_session_makes_clients_of_other_services(session: botocore.session.Session) -> None:
    stock = botocore.session.get_session().create_client("sts", region_name="eu-west-1")
    client = session.create_client("sts", region_name="eu-west-1")
    assert client.meta.endpoint_url == stock.meta.endpoint_url

    with pytest.raises(botocore.exceptions.UnknownServiceError, match=r"Unknown.*'nonsense'.*sqs"):
        session.create_client("nonsense", region_name="eu-west-1")


def test_files_of_the_user_come_first(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "dynamodb" / "2099-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text('{"metadata": {"of": "the user"}}')
    loader = shared_loader(f"{tmp_path / 'none'}:{tmp_path}")
    assert loader.load_service_model("dynamodb", "service-2") == {"metadata": {"of": "the user"}}
    assert loader.load_service_model("sts", "service-2")["metadata"]["serviceId"] == "STS"


@pytest.mark.parametrize(
    "content",
    [
        '{"partitions": [{"services": {"dynamodb": {"endpoints": {"mine": {}}}}, "n": NaN}]}',
        '{"partitions": [{"services": {"dynamodb": {"endpoints": {"mine": {"n": NaN}}}}}]}',
        '{"partitions": [{"services": {"dynamodb": {"endpoints": {"mine": {}}}}}], "n": [1, {}]}',
    ],
)
def test_table_of_endpoints_may_be_the_users(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "endpoints.json").write_text(content)
    found: t.Any = t.cast(t.Any, shared_loader.__wrapped__(str(tmp_path))).load_data("endpoints")
    assert "mine" in found["partitions"][0]["services"]["dynamodb"]["endpoints"]
    assert len(found) == len(json.loads(content))


def test_files_of_the_user_may_have_what_only_python_s_parser_accepts(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "own.json").write_text('{"a": NaN, "b": 1}', encoding="utf-8")
    found: t.Any = t.cast(t.Any, shared_loader(str(tmp_path))).load_data("own")
    assert found["b"] == 1
    assert found["a"] != found["a"]
