"""The awaitable side of :mod:`dynamo_ext.web`."""

from __future__ import annotations
