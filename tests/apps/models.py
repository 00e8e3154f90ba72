"""The models that the apps share."""

from __future__ import annotations

from pynamodb.attributes import UnicodeAttribute

from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

db = PynamoDB()


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(null=True)
