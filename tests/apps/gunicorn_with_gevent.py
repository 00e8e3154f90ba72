"""A configuration of gunicorn for gevent with ``--preload``: the app is loaded patched."""

from __future__ import annotations

import gevent.monkey  # type: ignore[import-untyped]

gevent.monkey.patch_all()
