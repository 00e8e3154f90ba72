"""The models, declared once for Flask and Quart."""

from __future__ import annotations

import datetime
import random
import secrets
import time
import typing as t
import uuid

from pynamodb.attributes import ListAttribute
from pynamodb.attributes import NumberAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.exceptions import TransactWriteError

from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

BOARD = "public"
MAX_TEXT = 200
MAX_CHOICES = 8

ATTEMPTS = 8
"""How often a vote is tried while others are being counted."""

db = PynamoDB()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def new_id() -> str:
    """A UUID that begins with the time, so that ids sort in the order of creation."""
    return str(uuid.UUID(bytes=time.time_ns().to_bytes(8, "big") + secrets.token_bytes(8)))


class Poll(Model):
    """A question, the choices, and how many votes each of them has.

    One item has it all, so a page and a live result cost one read.
    """

    class Meta:
        table_name = "polls"
        # There is only one board: responses need not name it.
        json_exclude = ("board",)

    board = UnicodeAttribute(hash_key=True, default=BOARD)
    id = UnicodeAttribute(range_key=True, default_for_new=new_id)
    question = UnicodeAttribute()
    choices: ListAttribute[t.Any] = ListAttribute(of=UnicodeAttribute)
    votes: ListAttribute[t.Any] = ListAttribute(of=NumberAttribute)
    created_at = UTCDateTimeAttribute(default_for_new=now)

    @property
    def total(self) -> int:
        """How many have voted."""
        return sum(self.votes)


class Vote(Model):
    """What one visitor has chosen. Its key allows one vote in each poll."""

    class Meta:
        table_name = "votes"

    poll_id = UnicodeAttribute(hash_key=True)
    voter = UnicodeAttribute(range_key=True)
    choice = NumberAttribute()
    created_at = UTCDateTimeAttribute(default_for_new=now)


def new_poll(question: str, choices: t.Iterable[str]) -> Poll:
    """A poll without votes, not saved yet.

    :param question: The text that the user typed.
    :param choices: Those of the choices; empty ones are left out.
    :raises ValueError: if this is not a valid poll. The message is for the user.
    """
    question = _clean(question, "A question")
    cleaned = [_clean(choice, "A choice") for choice in choices if choice.strip()]

    if not question:
        raise ValueError("A poll needs a question.")

    if not 2 <= len(cleaned) <= MAX_CHOICES:
        raise ValueError(f"A poll has 2 to {MAX_CHOICES} choices, this one has {len(cleaned)}.")

    if len(set(cleaned)) < len(cleaned):
        raise ValueError("A choice is there twice.")

    return Poll(question=question, choices=cleaned, votes=[0] * len(cleaned))


def vote(poll: Poll, voter: str, choice: int) -> Vote:
    """Count a visitor's vote, once.

    :param poll: The poll.
    :param voter: The visitor's id.
    :param choice: The position of the choice.
    :return: The vote that counts: the visitor's first one.
    :raises pynamodb.exceptions.TransactWriteError: if it could not be counted.
    """
    attempt = 1

    while True:
        try:
            return _count(poll, voter, choice)
        except TransactWriteError as error:
            reasons = {reason.code for reason in error.cancellation_reasons if reason}

            if "ConditionalCheckFailed" in reasons and (first := vote_of(poll, voter)):
                return first

            # DynamoDB refuses a transaction while another one changes the same item.
            if "TransactionConflict" not in reasons or attempt == ATTEMPTS:
                raise

        time.sleep(random.uniform(0, 0.02 * 2**attempt))
        attempt += 1


def vote_of(poll: Poll, voter: str) -> Vote | None:
    """A visitor's vote in a poll, if there is one."""
    try:
        return Vote.get(poll.id, voter, consistent_read=True)
    except Vote.DoesNotExist:
        return None


def _count(poll: Poll, voter: str, choice: int) -> Vote:
    """Save the vote, and count it: both or neither."""
    vote, count = Vote(poll.id, voter, choice=choice), Poll.votes[choice]

    with db.transact_write() as transaction:
        transaction.save(vote, condition=Vote.voter.does_not_exist())
        transaction.update(poll, actions=[count.set(count + 1)])

    return vote


def _clean(text: str, what: str) -> str:
    """A text in the form in which it is stored: one line, without surrounding space."""
    text = " ".join(text.split())

    if len(text) > MAX_TEXT:
        raise ValueError(f"{what} has at most {MAX_TEXT} characters, not {len(text)}.")

    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{what} has half of a surrogate pair, which is not a character."
        ) from None

    return text
