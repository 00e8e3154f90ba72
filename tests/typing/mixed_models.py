"""Models that a Flask app and a Quart app share."""

from datetime import datetime

from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.indexes import AllProjection

from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

db = PynamoDB()


class ByOwner(GlobalSecondaryIndex["Todo"]):
    class Meta:
        index_name = "by-owner"
        projection = AllProjection()

    owner = UnicodeAttribute(hash_key=True)
    created_at = UTCDateTimeAttribute(range_key=True)


class Todo(Model):
    class Meta:
        table_name = "todo"

    id = UnicodeAttribute(hash_key=True)
    owner = UnicodeAttribute()
    created_at = UTCDateTimeAttribute(default_for_new=datetime.now)
    version = VersionAttribute()
    by_owner = ByOwner()
