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
from dynamo_ext import CallAdvice
from dynamo_ext import CallTimeout
from dynamo_ext import ConfigError
from dynamo_ext import Connection
from dynamo_ext import DamagedReply
from dynamo_ext import InvalidCursor
from dynamo_ext import Location
from dynamo_ext import Page
from dynamo_ext import Pool
from dynamo_ext import PoolStats
from dynamo_ext import PoolTimeout
from dynamo_ext import RecordedCalls
from dynamo_ext import Settings
from dynamo_ext import Unavailable
from dynamo_ext import UnprocessedItems
from dynamo_ext import UnprocessedKeys
from dynamo_ext import Using
from dynamo_ext import WriteOutcomeUnknown
from dynamo_ext import call_finished
from dynamo_ext import get_recorded_calls
from dynamo_ext import json_default

from .binds import Bind
from .extension import PynamoDB
from .models.batch import BatchGetIterator
from .models.batch import BatchWrite
from .models.index import GlobalSecondaryIndex
from .models.index import LocalSecondaryIndex
from .models.iteration import PageIterator
from .models.iteration import ResultIterator
from .models.model import Model
from .models.parallel_scan import ParallelScan
from .models.transaction import TransactGet
from .models.transaction import TransactWrite

del _anyio, _quart

__all__ = [
    "BatchGetIterator",
    "BatchWrite",
    "Bind",
    "BlockingCallWarning",
    "Call",
    "CallAdvice",
    "CallTimeout",
    "ConfigError",
    "Connection",
    "DamagedReply",
    "GlobalSecondaryIndex",
    "InvalidCursor",
    "LocalSecondaryIndex",
    "Location",
    "Model",
    "Page",
    "PageIterator",
    "ParallelScan",
    "Pool",
    "PoolStats",
    "PoolTimeout",
    "PynamoDB",
    "RecordedCalls",
    "ResultIterator",
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
