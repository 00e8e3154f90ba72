"""How many examples hypothesis tries, by its profile.

The profile ``full`` is the default; ``half`` takes its place in CI, and ``light`` is for the
environments that run the tests once more: ``pytest --hypothesis-profile light``.
"""

from __future__ import annotations

import os

import hypothesis

_FULL = 100
_HALF = 50
_LIGHT = 25


def register_profiles() -> None:
    """Register the profiles, and load ``full``, or ``half`` in CI.

    Hypothesis has a default of its own in CI, where its examples are the same in each run, so that
    more of them find nothing new: all profiles are built upon it. How long an example takes depends
    on what else the machine does.
    """
    for name, max_examples in {"light": _LIGHT, "half": _HALF, "full": _FULL}.items():
        hypothesis.settings.register_profile(
            name,
            hypothesis.settings.default,
            max_examples=max_examples,
            deadline=None,
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
        )

    hypothesis.settings.load_profile("half" if os.environ.get("CI") else "full")


def examples(count: int) -> int:
    """
    :param count: How many examples a test tries on the profile ``full``.
    :return: How many it tries on the profile of this run.
    """
    return max(1, count * hypothesis.settings().max_examples // _FULL)
