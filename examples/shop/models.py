"""The models: all kinds of items, of all tenants, in one table.

======== ====================== =============== ===================================
kind     ``pk``                 ``sk``          in the index ``by-state``
======== ====================== =============== ===================================
product  ``T#products``         its SKU
customer ``T#customer#ID``      ``profile``
order    ``T#customer#ID``      ``order#ID``    ``T#orders#STATE``, then ``order#ID``
request  ``T#customer#ID``      ``request#KEY``
======== ====================== =============== ===================================

Each hash key begins with the tenant ``T``, because :func:`_tenant_key` makes all of them.
"""

from __future__ import annotations

import datetime
import secrets
import time
import typing as t
import uuid

import pydantic
from pynamodb.attributes import Attribute
from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import ListAttribute
from pynamodb.attributes import MapAttribute
from pynamodb.attributes import TTLAttribute
from pynamodb.attributes import UnicodeAttribute
from pynamodb.attributes import UTCDateTimeAttribute
from pynamodb.constants import NUMBER
from pynamodb.constants import STRING
from pynamodb.exceptions import PynamoDBException
from pynamodb.exceptions import TransactWriteError
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection
from quart import g

from dynamo_ext_async import GlobalSecondaryIndex
from dynamo_ext_async import Model
from dynamo_ext_async import PynamoDB

db = PynamoDB()

# What a request may contain. The schemas take it from the attributes that are declared with it.
Sku = t.Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", examples=["tea"])]
Name = t.Annotated[
    str, pydantic.StringConstraints(strip_whitespace=True, min_length=1, max_length=200)
]
Email = t.Annotated[str, pydantic.Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
State = t.Literal["open", "paid", "shipped", "cancelled"]
Cents = t.Annotated[int, pydantic.Field(ge=0, le=10**9)]
Stock = t.Annotated[int, pydantic.Field(ge=0, le=10**12)]
Quantity = t.Annotated[int, pydantic.Field(ge=1, le=1000)]

PROFILE = "profile"
ORDERS = "order#"

_NOT_HELD = "ConditionalCheckFailed"

S = t.TypeVar("S", bound=str)
N = t.TypeVar("N", bound=int)


class Text(Attribute[S]):
    """Text of a declared form."""

    attr_type = STRING


class WholeNumber(Attribute[N]):
    """A whole number of a declared range. Prices are such numbers of cents: no float is money."""

    attr_type = NUMBER

    def serialize(self, value: t.Any) -> str:
        return str(int(value))

    def deserialize(self, value: t.Any) -> t.Any:
        return int(value)


class Row(Model):
    """What all items of the table have in common."""

    class Meta:
        table_name = "shop"
        # Keys name the tenant, and are of no use to clients.
        json_exclude: tuple[str, ...] = ("pk", "sk", "kind")

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    kind = DiscriminatorAttribute()


class Product(Row, discriminator="product"):
    """What is for sale."""

    sku = Text[Sku]()
    name = Text[Name]()
    price_cents = WholeNumber[Cents]()
    stock = WholeNumber[Stock]()

    @classmethod
    def of(cls, sku: str, **attributes: t.Any) -> Product:
        return cls(catalogue_key(), sku, sku=sku, **attributes)


class Customer(Row, discriminator="customer"):
    """Who buys."""

    id = UnicodeAttribute()
    name = Text[Name]()
    email = Text[Email]()
    order_count = WholeNumber[int](default=0)

    @classmethod
    def of(cls, id: str, **attributes: t.Any) -> Customer:
        return cls(customer_key(id), PROFILE, id=id, **attributes)


class OrderLine(MapAttribute[str, t.Any]):
    """A product, as it was when it was ordered."""

    sku = Text[Sku]()
    name = Text[Name]()
    price_cents = WholeNumber[Cents]()
    quantity = WholeNumber[Quantity]()

    @classmethod
    def of(cls, product: Product, quantity: int) -> OrderLine:
        return cls(
            sku=product.sku, name=product.name, price_cents=product.price_cents, quantity=quantity
        )


class ByState(GlobalSecondaryIndex["Order"]):
    """A tenant's orders of one state, the oldest first."""

    class Meta:
        index_name = "by-state"
        projection = AllProjection()

    tenant_state = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class Order(Row, discriminator="order"):
    """What a customer has ordered."""

    class Meta(Row.Meta):
        json_exclude = (*Row.Meta.json_exclude, "tenant_state")

    id = UnicodeAttribute()
    customer_id = UnicodeAttribute()
    state = Text[State]()
    lines = ListAttribute(of=OrderLine)
    total_cents = WholeNumber[int]()
    created_at = UTCDateTimeAttribute()
    tenant_state = UnicodeAttribute()
    by_state = ByState()

    @classmethod
    def of(cls, customer_id: str, lines: list[OrderLine]) -> Order:
        id = new_id()
        return cls(
            *order_key(customer_id, id),
            id=id,
            customer_id=customer_id,
            state="open",
            lines=lines,
            total_cents=sum(line.price_cents * line.quantity for line in lines),
            created_at=datetime.datetime.now(datetime.UTC),
            tenant_state=state_key("open"),
        )

    @staticmethod
    def moves_to(state: State) -> list[Action]:
        """How the state is changed: the key of the index says it, too."""
        return [Order.state.set(state), Order.tenant_state.set(state_key(state))]


class PlacedOrder(Row, discriminator="request"):
    """Which order a request has placed, so that the same request places no second one."""

    customer_id = UnicodeAttribute()
    order_id = UnicodeAttribute()
    content = UnicodeAttribute()
    # DynamoDB deletes it after that: the time in which a client may send its request again.
    expires = TTLAttribute(default_for_new=datetime.timedelta(days=1))

    @classmethod
    def of(cls, order: Order, key: str, content: str) -> PlacedOrder:
        return cls(
            *request_key(order.customer_id, key),
            customer_id=order.customer_id,
            order_id=order.id,
            content=content,
        )


def catalogue_key() -> str:
    return _tenant_key("products")


def customer_key(id: str) -> str:
    return _tenant_key("customer", id)


def order_key(customer_id: str, id: str) -> tuple[str, str]:
    return customer_key(customer_id), f"{ORDERS}{id}"


def request_key(customer_id: str, key: str) -> tuple[str, str]:
    return customer_key(customer_id), f"request#{key}"


def state_key(state: State) -> str:
    return _tenant_key("orders", state)


def _tenant_key(*parts: str) -> str:
    # Without a tenant, this fails: no key can be made then.
    return "#".join((g.tenant.name, *parts))


def new_id() -> str:
    """A UUID of version 7, whose text sorts in the order of creation."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    bits = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


def failed_conditions(error: PynamoDBException) -> list[bool]:
    """Which writes had a condition that did not hold.

    :param error: The error of one write, or of a transaction.
    :return: One value for a write. One for each write of a transaction: first those that save, then
        those that update, each in the order in which they were added. Empty if the transaction was
        not cancelled.
    """
    if isinstance(error, TransactWriteError):
        reasons = error.cancellation_reasons
        return [reason is not None and reason.code == _NOT_HELD for reason in reasons]

    return [error.cause_response_code == f"{_NOT_HELD}Exception"]
