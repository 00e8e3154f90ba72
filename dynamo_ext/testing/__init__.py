"""The plugin for pytest: what its fixture ``dynamodb`` gives, for annotations.

pytest loads the plugin by itself, as ``pytest_dynamo_ext``: that package is apart from this one
because importing this one imports Flask and botocore, too early in a test session.
"""

from __future__ import annotations

from ..local.faults import Fault
from ..local.faults import ReceivedRequest
from .fixture import Calls
from .fixture import DynamoDB

# For those who load this package as a plugin themselves: "pytest -p dynamo_ext.testing".
pytest_plugins: list[str] = ["pytest_dynamo_ext"]

__all__ = ["Calls", "DynamoDB", "Fault", "ReceivedRequest"]
