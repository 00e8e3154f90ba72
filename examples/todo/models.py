"""The models, declared once for Flask and Quart."""

from __future__ import annotations

import datetime
import secrets
import time
import uuid

from pynamodb.attributes import BooleanAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.attributes import VersionAttribute
from pynamodb.exceptions import UpdateError

from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

LIST = "inbox"
MAX_TITLE = 200

db = PynamoDB()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def new_id() -> str:
    """A UUID of version 7, whose text sorts in the order of creation."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    bits = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


class Todo(Model):
    """One to-do.

    The hash key is the to-do's list (this example has only one), and the range key sorts in the
    order of creation. So one Query reads a list in order, page by page, with a consistent read
    where the app asks for one. No Scan and no eventually consistent index is needed.
    """

    class Meta:
        table_name = "todos"
        # There is only one list: responses need not name it.
        json_exclude = ("list_name",)

    list_name = UnicodeAttribute(hash_key=True, default=LIST)
    id = UnicodeAttribute(range_key=True, default_for_new=new_id)
    title = UnicodeAttribute()
    done = BooleanAttribute(default=False)
    created_at = UTCDateTimeAttribute(default_for_new=now)
    # Optimistic locking: an update fails if someone else has changed the item since it was read.
    version = VersionAttribute()


def clean_title(title: str) -> str:
    """A title in the form in which it is stored: one line, without surrounding space.

    :param title: The text that the user typed.
    :raises ValueError: if the text is not a valid title. The message is for the user.
    """
    title = " ".join(title.split())

    if not title:
        raise ValueError("A to-do needs a title.")

    if len(title) > MAX_TITLE:
        raise ValueError(f"A title has at most {MAX_TITLE} characters, this one has {len(title)}.")

    try:
        title.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "The title has half of a surrogate pair, which is not a character."
        ) from None

    return title


def is_conflict(error: UpdateError) -> bool:
    """Whether an update failed because the item was changed or deleted since it was read."""
    return error.cause_response_code == "ConditionalCheckFailedException"
