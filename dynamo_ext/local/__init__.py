"""The embedded engine: what ``DYNAMODB_HOST = "local://"`` stands for."""

from __future__ import annotations
