"""DynamoDB for Flask, on top of PynamoDB."""

from __future__ import annotations

from .calls import Call
from .calls import call_finished
from .errors import CallTimeout
from .errors import ConfigError
from .errors import PoolTimeout
from .errors import UnprocessedItems
from .errors import UnprocessedKeys
from .flask import PynamoDB
from .guard import BlockingCallWarning
from .model import Model
from .settings import Settings

__all__ = [
    "BlockingCallWarning",
    "Call",
    "CallTimeout",
    "ConfigError",
    "Model",
    "PoolTimeout",
    "PynamoDB",
    "Settings",
    "UnprocessedItems",
    "UnprocessedKeys",
    "call_finished",
]
