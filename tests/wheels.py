"""The project's wheel."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent

# `scripts/test` leaves uv in its environment where uv can install from the package index.
HAS_UV = importlib.util.find_spec("uv") is not None


def python_m(python: str | pathlib.Path, *arguments: str | pathlib.Path) -> None:
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [python, "-m", *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def build(directory: pathlib.Path) -> pathlib.Path:
    """Build the wheel of this checkout.

    :param directory: The directory for it.
    :return: Its file.
    """
    if HAS_UV:
        python_m(sys.executable, "uv", "build", "--wheel", "--out-dir", directory, ROOT)
    else:
        python_m(sys.executable, "pip", "wheel", "--no-deps", "--wheel-dir", directory, ROOT)

    (wheel,) = directory.glob("*.whl")
    return wheel
