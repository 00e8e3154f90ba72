"""DynamoDB for Flask, on top of PynamoDB."""

from __future__ import annotations

from .calls.blocking import BlockingCallWarning
from .calls.record import Call
from .calls.record import call_finished
from .config.settings import Settings
from .errors import CallTimeout
from .errors import ConfigError
from .errors import PoolTimeout
from .errors import UnprocessedItems
from .errors import UnprocessedKeys
from .flask import PynamoDB
from .models.model import Model

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
