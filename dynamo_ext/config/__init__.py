"""Reads and checks the ``DYNAMODB_*`` keys of ``app.config``."""

from __future__ import annotations
