"""Where credentials come from on AWS: instance metadata, containers, STS; all on loopback."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime
import http.server
import json
import threading
import typing as t
import urllib.parse

import engines

_TOKEN = "token-of-the-metadata-service"
_ROLE = "role-of-the-tests"
_ASSUMED = """
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId>
<SecretAccessKey>{SecretAccessKey}</SecretAccessKey><SessionToken>{Token}</SessionToken>
<Expiration>{Expiration}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>r:s</AssumedRoleId>
</AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>
"""
_REFUSED = (
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
)


@dataclasses.dataclass(frozen=True)
class Grant:
    """Credentials, and how long they hold from when they are asked for."""

    name: str
    minutes: float = 60

    def document(self) -> dict[str, str]:
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(minutes=self.minutes)
        return {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": f"AKID{self.name}",
            "SecretAccessKey": f"secret-{self.name}",
            "Token": f"token-{self.name}",
            "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class Metadata:
    """The service. It gives its grants in turn, and the last one again and again."""

    def __init__(self, *grants: Grant) -> None:
        self.grants = list(grants)
        self.given = 0
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Metadata:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{engines.HOST}:{self._server.server_address[1]}"

    @property
    def for_instances(self) -> dict[str, str]:
        """The environment of a process on an instance."""
        return {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url,
        }

    @property
    def for_containers(self) -> dict[str, str]:
        """The environment of a process in a container."""
        return {
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": _TOKEN,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/container",
        }

    def grant(self) -> dict[str, str] | None:
        """The next credentials, if there are any."""
        self.gate.wait()

        with self._lock:
            self.given += 1

            if not self.grants:
                return None

            return (self.grants.pop(0) if len(self.grants) > 1 else self.grants[0]).document()


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata
        super().__init__((engines.HOST, 0), _Handler)

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client that has gone is no failure."""


class _Handler(http.server.BaseHTTPRequestHandler):
    @property
    def metadata(self) -> Metadata:
        return t.cast(_Server, self.server).metadata

    def do_PUT(self) -> None:
        self._note()
        self._send(200, _TOKEN)

    def do_GET(self) -> None:
        self._note()

        if self.path == "/container":
            authorised = self.headers["Authorization"] == _TOKEN
            self._send_document(self.metadata.grant() if authorised else None)
        elif self.headers["X-aws-ec2-metadata-token"] != _TOKEN:
            self._send(401)
        elif self.path.endswith("/security-credentials/"):
            self._send(200, _ROLE)
        else:
            self._send_document(self.metadata.grant())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = dict(urllib.parse.parse_qsl(content))
        signer = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        self._note(f"{fields['Action']} {fields['RoleArn']} by {signer}")
        document = self.metadata.grant()

        if document is None:
            self._send(403, _REFUSED, "text/xml")
        else:
            self._send(200, _ASSUMED.format(**document), "text/xml")

    def _note(self, what: str | None = None) -> None:
        self.metadata.asked.append(what or f"{self.command} {self.path}")

    def _send_document(self, document: cabc.Mapping[str, str] | None) -> None:
        if document is None:
            self._send(404)
        else:
            self._send(200, json.dumps(document))

    def _send(self, status: int, content: str = "", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing."""
