"""The soak, for a moment: that it runs, and tells what it does. It does its work elsewhere."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import engines

# CI runs the soak itself, too.
pytestmark = pytest.mark.repo


@pytest.mark.slow
def test_a_short_one_passes_and_names_its_seed() -> None:
    environment = engines.python_environment()
    paths = [str(pathlib.Path(__file__).parent), environment["PYTHONPATH"]]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "soak", "2", "--seed", "7"],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--seed 7" in done.stdout
    assert "soak: passed" in done.stdout
