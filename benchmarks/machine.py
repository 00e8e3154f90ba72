"""A description of the machine and the day on which the figures were measured."""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
import re


def describe() -> dict[str, str]:
    """The day, the processor, the CPUs, the system, the Python, and the load before the run."""
    return {
        "day": datetime.date.today().isoformat(),
        "processor": _processor(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load before": load(),
    }


def load() -> str:
    """How many processes have run or waited for a CPU, on average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()
