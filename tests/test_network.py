"""The way to the server: TLS, proxies, IPv6, and names whose address changes."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import http.server
import pathlib
import socket
import threading
import typing as t
import urllib.parse

import botocore.exceptions
import pytest
from cryptography import x509
from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import GetError

import engines
import ports
import stub as stubs
from authority import Authority
from conftest import InApp
from dynamo_ext_async import CallTimeout
from dynamo_ext_async import Model
from stub import Stub

pytestmark = pytest.mark.wire

DEADLINE = 100
ONCE = {"DYNAMODB_MAX_RETRY_ATTEMPTS": 0}


class Item(Model):
    class Meta:
        table_name = "item"

    id = UnicodeAttribute(hash_key=True)


def test_the_bundle_of_the_environment_vouches_for_the_server(
    in_app: InApp, secure_stub: Stub, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))

    with in_app(engines.config(secure_stub.url), **ONCE):
        assert Item.get("a").id == "a"
        assert Item.get("b").id == "b"

    assert secure_stub.url.startswith("https:")


def test_the_bundle_of_the_profile_vouches_for_the_server(
    in_app: InApp,
    secure_stub: Stub,
    authority: Authority,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\nca_bundle = {authority.bundle}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    with in_app(engines.config(secure_stub.url), **ONCE):
        assert Item.get("a").id == "a"


def test_a_server_for_which_nobody_vouches_is_sent_nothing(
    in_app: InApp, secure_stub: Stub
) -> None:
    with in_app(engines.config(secure_stub.url), **ONCE), pytest.raises(GetError) as raised:
        Item.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.SSLError)
    assert "certificate verify failed" in str(raised.value)
    assert secure_stub.requests == []


def test_a_certificate_for_another_host_is_refused(
    in_app: InApp, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))

    with (
        Stub(tls=authority.server(x509.DNSName("other.example"))) as stub,
        in_app(engines.config(stub.url), **ONCE),
        pytest.raises(GetError) as raised,
    ):
        Item.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.SSLError)
    assert engines.HOST in str(raised.value)
    assert stub.requests == []


class Proxy:
    """A proxy that records what it is asked for."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._server = _ProxyServer(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{engines.HOST}:{self._server.server_address[1]}"


class _ProxyServer(http.server.ThreadingHTTPServer):
    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__((engines.HOST, 0), _ProxyHandler)

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A side that has gone is no failure."""


class _ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self._record()

        with socket.create_connection((host, int(port)), DEADLINE) as server:
            self.send_response(200)
            self.end_headers()
            self._join(server)

        self.close_connection = True

    def do_POST(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        self._record()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        server = http.client.HTTPConnection(target.netloc, timeout=DEADLINE)

        with contextlib.closing(server):
            server.request("POST", target.path or "/", content, dict(self.headers.items()))
            answer = server.getresponse()
            self.send_response_only(answer.status)

            for name, value in answer.getheaders():
                self.send_header(name, value)

            self.end_headers()
            self.wfile.write(answer.read())

    def _record(self) -> None:
        proxy = t.cast(_ProxyServer, self.server).proxy
        proxy.requests.append(f"{self.command} {self.path}")
        proxy.headers.append(dict(self.headers.items()))

    def _join(self, server: socket.socket) -> None:
        there = threading.Thread(target=self._pass, args=(self.connection, server))
        there.start()
        self._pass(server, self.connection)
        there.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)

        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing."""


@pytest.fixture
def proxy() -> cabc.Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


def test_the_proxy_of_the_environment_is_asked(
    in_app: InApp,
    stub: Stub,
    stub_config: dict[str, t.Any],
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    with in_app(stub_config, DYNAMODB_EXTRA_HEADERS={"X-For-The-Proxy": "yes"}):
        assert Item.get("a").id == "a"

    assert proxy.requests == [f"POST {stub.url}/"]
    assert proxy.headers[0]["X-For-The-Proxy"] == "yes"
    assert "x-for-the-proxy" not in stub.requests[0].signature.signed_headers


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_every_call_is_worded_for_the_proxy_that_passes_it_on(
    in_app: InApp,
    stub: Stub,
    stub_config: dict[str, t.Any],
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    with in_app(stub_config, DYNAMODB_TRANSPORT=transport, **ONCE):
        assert [Item.get(key).id for key in "abc"] == ["a", "b", "c"]

    assert proxy.requests == [f"POST {stub.url}/"] * 3
    assert stub.operations == ["GetItem"] * 3


@pytest.mark.parametrize("transport", ["botocore", "direct"])
def test_a_proxy_that_passes_tls_on_is_asked_once_for_all_calls(
    in_app: InApp,
    secure_stub: Stub,
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    with in_app(engines.config(secure_stub.url), DYNAMODB_TRANSPORT=transport, **ONCE) as db:
        assert [Item.get(key).id for key in "abc"] == ["a", "b", "c"]
        db.connection.client.close()

    assert proxy.requests == [f"CONNECT {engines.HOST}:{secure_stub.port}"]
    assert secure_stub.operations == ["GetItem"] * 3


def test_a_proxy_passes_tls_on(
    in_app: InApp,
    secure_stub: Stub,
    authority: Authority,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    with in_app(engines.config(secure_stub.url)) as db:
        assert Item.get("a").id == "a"
        # The proxy serves as long as the connection lasts.
        db.connection.client.close()

    assert proxy.requests == [f"CONNECT {engines.HOST}:{secure_stub.port}"]
    assert secure_stub.operations == ["GetItem"]


def test_a_host_that_needs_no_proxy_is_asked_itself(
    in_app: InApp,
    stub: Stub,
    stub_config: dict[str, t.Any],
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", engines.HOST)

    with in_app(stub_config):
        assert Item.get("a").id == "a"

    assert stub.operations == ["GetItem"]
    assert proxy.requests == []


def test_no_proxy_leads_to_the_embedded_engine(
    in_app: InApp, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    with in_app({"DYNAMODB_HOST": "local://"}) as db:
        db.connection.list_tables()

    assert proxy.requests == []


def test_a_proxy_that_is_not_there_is_named(
    in_app: InApp, stub_config: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ports.free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://{engines.HOST}:{port}")

    with in_app(stub_config, **ONCE), pytest.raises(GetError) as raised:
        Item.get("a")

    assert isinstance(raised.value.cause, botocore.exceptions.ProxyConnectionError)
    assert f"{engines.HOST}:{port}" in str(raised.value)


def test_a_deadline_counts_behind_a_proxy_too(
    in_app: InApp,
    stub: Stub,
    stub_config: dict[str, t.Any],
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    stub.next("GetItem", stubs.HOLD)

    with in_app(stub_config, DYNAMODB_CALL_TIMEOUT_SECONDS=2) as db:
        # The deadline includes it.
        assert db.connection.client

        with pytest.raises(CallTimeout):
            Item.get("a")

    assert len(proxy.requests) == 1
    stub.release()


def test_a_host_may_have_an_address_of_ipv6(in_app: InApp) -> None:
    with Stub("::1") as stub, in_app(engines.config(stub.url)):
        assert stub.url.startswith("http://[::1]:")
        assert Item.get("a").id == "a"

    assert stub.requests[0].header("Host") == f"[::1]:{stub.port}"


def test_new_connections_follow_the_name_to_its_new_address(
    in_app: InApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are open stay where they are until the server closes them."""
    resolve = socket.getaddrinfo
    addresses = {"dynamodb.example": engines.HOST}

    def resolve_here(host: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        return resolve(addresses.get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)

    with Stub() as old, Stub("127.0.0.2", old.port) as new:
        settings = engines.config(f"http://dynamodb.example:{old.port}")

        with in_app(settings, **ONCE):
            Item.get("a")
            addresses["dynamodb.example"] = "127.0.0.2"
            Item.get("a")
            assert [len(old.requests), len(new.requests)] == [2, 0]

            old.close_connections()
            old.wait_for(lambda: old.connections == 0)
            Item.get("a")
            assert [len(old.requests), len(new.requests)] == [2, 1]
