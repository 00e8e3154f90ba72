"""The embedded engine, which ``DYNAMODB_HOST = "local://"`` starts."""

from __future__ import annotations
