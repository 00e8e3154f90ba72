"""What requests and responses contain. Nearly all of it is made of the models."""

from __future__ import annotations

import types
import typing as t

import pydantic
from pynamodb.attributes import AttributeContainer

from dynamo_ext.schema import pydantic_model

from .models import Customer
from .models import Order
from .models import OrderLine
from .models import Product
from .models import Row
from .models import State

# Each line is a write of the transaction, which may have 100.
MOST_LINES = 50

Schema = type[pydantic.BaseModel]


class _Body(pydantic.BaseModel):
    # What would be ignored is an error, and so is a number in quotes.
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


def _body(name: str, model: type[AttributeContainer], *attributes: str) -> Schema:
    """The schema of a request's body, which has some attributes of a model."""
    schema = pydantic_model(model, include=attributes)
    return pydantic.create_model(name, __base__=(schema, _Body))


def _item(model: type[Row]) -> Schema:
    """The schema of an item in a response."""
    return pydantic_model(model, name=model.__name__, exclude=model.Meta.json_exclude)


def _list_of(schema: Schema) -> t.Any:
    return types.GenericAlias(list, (schema,))


def _page(of: Schema) -> Schema:
    """The schema of a page of items, with the URLs of the next page and the previous one."""
    # The names of what 'db.apaginate' returns.
    following, previous = (
        pydantic.Field(default=None, validation_alias=name) for name in ("next_url", "prev_url")
    )
    return pydantic.create_model(
        f"{of.__name__}Page",
        __config__=pydantic.ConfigDict(from_attributes=True),
        items=_list_of(of),
        next=(str | None, following),
        prev=(str | None, previous),
    )


NewProduct = _body("NewProduct", Product, "sku", "name", "price_cents", "stock")
NewCustomer = _body("NewCustomer", Customer, "name", "email")
NewLine = _body("NewLine", OrderLine, "sku", "quantity")
Delivery = _body("Delivery", OrderLine, "quantity")
OrderChange = _body("OrderChange", Order, "state")

ProductItem = _item(Product)
ProductPage = _page(ProductItem)
CustomerItem = _item(Customer)
OrderItem = _item(Order)
OrderPage = _page(OrderItem)

NewOrder = pydantic.create_model(
    "NewOrder",
    __base__=_Body,
    lines=(_list_of(NewLine), pydantic.Field(min_length=1, max_length=MOST_LINES)),
)
CustomerWithOrders = pydantic.create_model(
    "CustomerWithOrders", __base__=CustomerItem, latest_orders=_list_of(OrderItem)
)


class PageQuery(pydantic.BaseModel):
    """Which page: the arguments that ``db.apaginate`` takes."""

    per_page: int = pydantic.Field(default=20, ge=1, description="100 at most.")
    cursor: str | None = pydantic.Field(
        default=None, description="From 'next' or 'prev' of another page."
    )


class OrderQuery(PageQuery):
    state: State = "open"


class OrderHeaders(pydantic.BaseModel):
    idempotency_key: str | None = pydantic.Field(
        default=None,
        pattern=r"^[\x21-\x7e]{1,100}$",
        description="Chosen by the client. An order that is sent again with it is placed once.",
    )


class Error(pydantic.BaseModel):
    """An error, in words."""

    error: str
