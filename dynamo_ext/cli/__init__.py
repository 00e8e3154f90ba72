"""``flask dynamodb`` and ``quart dynamodb``: one group of commands under both."""

from __future__ import annotations
