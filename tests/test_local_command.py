"""``local``: the embedded engine as a command of the app."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

import engines

pytestmark = [pytest.mark.slow, pytest.mark.once(reason="a server is started")]

APP = """
import flask
import quart

from dynamo_ext_async import PynamoDB

db = PynamoDB()


def create_flask():
    app = flask.Flask("tests")
    db.init_app(app)
    return app


def create_quart():
    app = quart.Quart("tests")
    db.init_app(app)
    return app
"""


@pytest.mark.parametrize("line", ["flask", "quart"])
def test_it_serves_until_it_is_interrupted(line: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "web.py").write_text(APP)
    port = engines._free_port()

    with subprocess.Popen(
        [
            *(sys.executable, "-m", line, "--app", f"web:create_{line}"),
            *("dynamodb", "local", "--port", str(port)),
        ],
        cwd=tmp_path,
        env=engines.python_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()

        try:
            assert url == f"http://{engines.HOST}:{port}"

            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(url, timeout=60)
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=60)

    assert (server.returncode, errors) == (0, "")


def test_a_port_that_can_not_be_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "web.py").write_text(APP)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "flask", "--app", "web:create_flask"),
            *("dynamodb", "local", "--port", "65536"),
        ],
        cwd=tmp_path,
        env=engines.python_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--port" in done.stderr
