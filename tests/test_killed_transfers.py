"""Exports and imports that are killed at any moment go on: nothing is lost, and nothing doubled."""

from __future__ import annotations

import collections.abc as cabc
import gzip
import json
import math
import pathlib
import random
import time

import pytest

import engines
import forked_commands
from forked_commands import Commands
from forked_commands import Done
from test_export_import import connected
from test_export_import import create_tables
from test_export_import import lines
from test_export_import import normal
from test_export_import import things

pytestmark = [
    pytest.mark.slow,
    pytest.mark.once(reason="processes are killed while they write files"),
]

ROUNDS = 20
ITEMS = things(1200)


@pytest.fixture(scope="module")
def commands() -> cabc.Iterator[Commands]:
    with forked_commands.commands() as commands:
        yield commands


class Killed:
    """Runs one command again and again, until it was killed often enough and has ended once more.

    It is killed at random moments of the time that it takes.

    :param run: Runs it; takes how long to wait until it is killed.
    :param check: Checks what it has done, and undoes it.
    """

    def __init__(
        self,
        run: cabc.Callable[[float | None], Done],
        check: cabc.Callable[[], None],
    ) -> None:
        self._run = run
        self._check = check
        self._draw = random.Random(14)
        self._seconds = math.inf
        self.resumed = 0

    def again_and_again(self) -> None:
        self._complete(None)
        kills = 0

        # On a busy machine, all of them may come before the first checkpoint.
        while kills < ROUNDS or (not self.resumed and kills < 5 * ROUNDS):
            kills += not self._complete(self._draw.uniform(0.3, 0.95) * self._seconds)

        while not self._complete(None):
            pass

    def _complete(self, kill_after: float | None) -> bool:
        begin = time.monotonic()
        done = self._run(kill_after)
        self.resumed += "goes on" in done.stderr

        if done.code == -9:
            return False

        assert done.code == 0, done.stderr
        self._seconds = time.monotonic() - begin
        self._check()
        return True


def test_an_export(commands: Commands, dynoxide: str, tmp_path: pathlib.Path) -> None:
    config = engines.config(dynoxide)
    path = tmp_path / "things.json.gz"

    with connected(config) as database:
        create_tables(database)
        database.put("thing", ITEMS)

    # With a limit, a page is small, so that there are several of each segment.
    arguments = ("export", path, "thing", "--max-rcu", "240")

    def check() -> None:
        assert normal(line["Item"] for line in lines(path)) == normal(ITEMS)
        assert not (tmp_path / f"{path.name}.part").exists()
        path.unlink()

    killed = Killed(lambda after: commands.run(config, *arguments, kill_after=after), check)
    killed.again_and_again()
    assert killed.resumed


def test_an_import(commands: Commands, dynoxide: str, tmp_path: pathlib.Path) -> None:
    config = engines.config(dynoxide)
    path = tmp_path / "things.json.gz"
    content = "".join(json.dumps({"Item": each}) + "\n" for each in ITEMS).encode()
    path.write_bytes(gzip.compress(content))

    with connected(config) as database:
        create_tables(database)

        def check() -> None:
            assert normal(database.items("thing")) == normal(ITEMS)
            assert [file.name for file in tmp_path.iterdir()] == [path.name]
            database.empty("thing")

        killed = Killed(
            lambda after: commands.run(config, "import", path, "thing", kill_after=after),
            check,
        )
        killed.again_and_again()

    assert killed.resumed
