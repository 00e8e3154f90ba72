"""The source of a small app, for tests that run it in a fresh Python."""

from __future__ import annotations

import typing as t

_SOURCE = """
import asyncio, os, sys, threading
from pynamodb.attributes import UnicodeAttribute
from quart import Quart
from dynamo_ext_async import Model, PynamoDB

class Item(Model):
    class Meta:
        table_name = "item"
    id = UnicodeAttribute(hash_key=True)

app = Quart("app")
app.config.update(DYNAMODB_HOST=sys.argv[1], DYNAMODB_AWS_ACCESS_KEY_ID="id",
                  DYNAMODB_AWS_SECRET_ACCESS_KEY="key", **{settings!r})
db = PynamoDB(app)
"""


def app_source(**settings: t.Any) -> str:
    """The app, with a model. The first argument of the process is the address of its server."""
    return _SOURCE.format(settings=settings)
