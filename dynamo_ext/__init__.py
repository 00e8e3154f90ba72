"""DynamoDB for Flask, on top of PynamoDB."""

from __future__ import annotations

from .binds import Bind
from .binds import Using
from .call_site import Location
from .calls.pool import Pool
from .calls.pool import PoolStats
from .calls.record import Call
from .calls.record import call_finished
from .client.connection import Connection
from .config.settings import Settings
from .errors import BlockingCallWarning
from .errors import CallAdvice
from .errors import CallTimeout
from .errors import ConfigError
from .errors import DamagedReply
from .errors import InvalidCursor
from .errors import PoolTimeout
from .errors import Unavailable
from .errors import UnprocessedItems
from .errors import UnprocessedKeys
from .errors import WriteOutcomeUnknown
from .flask import PynamoDB
from .models.batch import BatchWrite
from .models.model import Model
from .models.transaction import TransactGet
from .models.transaction import TransactWrite
from .web.json_provider import json_default
from .web.pages import Page
from .web.recorder import RecordedCalls
from .web.recorder import get_recorded_calls

__all__ = [
    "BatchWrite",
    "Bind",
    "BlockingCallWarning",
    "Call",
    "CallAdvice",
    "CallTimeout",
    "ConfigError",
    "Connection",
    "DamagedReply",
    "InvalidCursor",
    "Location",
    "Model",
    "Page",
    "Pool",
    "PoolStats",
    "PoolTimeout",
    "PynamoDB",
    "RecordedCalls",
    "Settings",
    "TransactGet",
    "TransactWrite",
    "Unavailable",
    "UnprocessedItems",
    "UnprocessedKeys",
    "Using",
    "WriteOutcomeUnknown",
    "call_finished",
    "get_recorded_calls",
    "json_default",
]
