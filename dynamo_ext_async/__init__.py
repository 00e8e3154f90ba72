"""DynamoDB for Quart, on top of PynamoDB and :mod:`dynamo_ext`."""

from __future__ import annotations

try:
    import anyio as _anyio
    import quart as _quart
except ModuleNotFoundError as _error:
    raise ImportError(
        f"'dynamo_ext_async' needs {_error.name!r}, which is not installed. Install the extra:"
        ' pip install "dynamo-ext[async]"'
    ) from _error

from dynamo_ext import BlockingCallWarning
from dynamo_ext import Call
from dynamo_ext import CallTimeout
from dynamo_ext import ConfigError
from dynamo_ext import PoolTimeout
from dynamo_ext import Settings
from dynamo_ext import UnprocessedItems
from dynamo_ext import UnprocessedKeys
from dynamo_ext import call_finished

from .extension import PynamoDB
from .models.index import GlobalSecondaryIndex
from .models.index import LocalSecondaryIndex
from .models.model import Model

del _anyio, _quart

__all__ = [
    "BlockingCallWarning",
    "Call",
    "CallTimeout",
    "ConfigError",
    "GlobalSecondaryIndex",
    "LocalSecondaryIndex",
    "Model",
    "PoolTimeout",
    "PynamoDB",
    "Settings",
    "UnprocessedItems",
    "UnprocessedKeys",
    "call_finished",
]
