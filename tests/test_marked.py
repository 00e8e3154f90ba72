"""What the tests say of other processes is true while these change."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

import marked

pytestmark = [
    pytest.mark.skipif(
        not pathlib.Path("/proc/self/environ").exists(), reason="finds processes through /proc"
    ),
    pytest.mark.repo,
]

PROGRAMS = 300


def test_a_process_that_changes_its_program_is_seen(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\n[ "$1" -eq 0 ] || exec {program} $(($1 - 1))\nexec cat\n')
    program.chmod(0o755)

    with subprocess.Popen([program, str(PROGRAMS)], stdin=subprocess.PIPE) as process:
        while (command := marked.command(process.pid)) != ["cat"]:
            assert command

        assert process.stdin is not None
        process.stdin.close()
        marked.wait_until(lambda: not marked.command(process.pid))
