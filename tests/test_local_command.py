"""``local``: the embedded engine as a command of the app."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import flask
import pytest
from pynamodb.attributes import UnicodeAttribute

import engines
import ports
import warm
from dynamo_ext import Model
from dynamo_ext import PynamoDB

pytestmark = [pytest.mark.slow, pytest.mark.once(reason="a server is started")]

APP = """
import flask
import quart

from dynamo_ext_async import PynamoDB

db = PynamoDB()


def create_flask():
    app = flask.Flask(__name__)
    db.init_app(app)
    return app


def create_quart():
    app = quart.Quart(__name__)
    db.init_app(app)
    return app
"""


class Note(Model):
    class Meta:
        table_name = "notes-of-a-file"

    id = UnicodeAttribute(hash_key=True)


@contextlib.contextmanager
def serving(folder: pathlib.Path, line: str, *options: str) -> cabc.Iterator[str]:
    """Run the command until the end of the block.

    :return: The address that it prints.
    """
    (folder / "web.py").write_text(APP)

    with warm.Popen(
        [
            *(sys.executable, "-m", line, "--app", f"web:create_{line}"),
            *("dynamodb", "local", *options),
        ],
        cwd=folder,
        env=engines.python_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None

        try:
            yield server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=60)

    assert (server.returncode, errors) == (0, "")


@pytest.mark.parametrize("line", ["flask", "quart"])
def test_it_serves_until_it_is_interrupted(line: str, tmp_path: pathlib.Path) -> None:
    port = ports.free_port()

    with serving(tmp_path, line, "--port", str(port)) as url:
        assert url == f"http://{engines.HOST}:{port}"

        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url, timeout=60)


@pytest.mark.parametrize("line", ["flask", "quart"])
def test_it_serves_the_file_that_an_app_names(line: str, tmp_path: pathlib.Path) -> None:
    """A relative path begins in the instance folder for both."""
    app = flask.Flask("web", instance_path=str(tmp_path / "instance"))
    app.config["DYNAMODB_HOST"] = "local:///notes.db"
    PynamoDB(app)

    with app.app_context():
        Note.create_table(wait=True)
        Note("1").save()

    of_command = flask.Flask("client")

    with serving(tmp_path, line, "--file", "notes.db") as url:
        of_command.config.update(
            DYNAMODB_HOST=url,
            DYNAMODB_AWS_ACCESS_KEY_ID="local",
            DYNAMODB_AWS_SECRET_ACCESS_KEY="local",
        )
        PynamoDB(of_command)

        with of_command.app_context():
            assert [note.id for note in Note.scan()] == ["1"]
            Note("2").save()

    with app.app_context():
        assert sorted(note.id for note in Note.scan()) == ["1", "2"]


def test_a_port_that_can_not_be_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "web.py").write_text(APP)
    done = warm.run(
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
