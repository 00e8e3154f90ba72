"""The products of a tenant."""

from __future__ import annotations

import pydantic
from pynamodb.exceptions import PutError
from pynamodb.exceptions import UpdateError
from quart import Blueprint
from quart import abort
from quart import url_for

from dynamo_ext_async import Page

from . import pages
from .contract import contract
from .models import Product
from .models import catalogue_key
from .models import failed_conditions
from .schemas import Delivery
from .schemas import NewProduct
from .schemas import PageQuery
from .schemas import ProductItem
from .schemas import ProductPage

bp = Blueprint("products", __name__, url_prefix="/products")


@bp.get("")
@contract(ProductPage, query=PageQuery, errors=(400,))
async def list_products(query_args: PageQuery) -> tuple[Page[Product], int, dict[str, str]]:
    """The products, by their SKUs"""
    return await pages.answer(Product.aquery(catalogue_key()), query_args)


@bp.post("")
@contract(ProductItem, 201, body=NewProduct, errors=(400, 409))
async def add_product(data: pydantic.BaseModel) -> tuple[Product, int, dict[str, str]]:
    """Add a product"""
    product = Product.of(**data.model_dump())

    try:
        await product.asave(Product.pk.does_not_exist())
    except PutError as error:
        if any(failed_conditions(error)):
            abort(409, f"There is a product {product.sku!r} already.")

        raise

    return product, 201, {"Location": url_for(".show_product", sku=product.sku)}


@bp.get("/<string(maxlength=40):sku>")
@contract(ProductItem, errors=(404,))
async def show_product(sku: str) -> Product:
    """A product"""
    return await Product.aget_or_404(catalogue_key(), sku, message=unknown(sku))


@bp.post("/<string(maxlength=40):sku>/deliveries")
@contract(ProductItem, body=Delivery, errors=(400, 404, 503))
async def deliver(sku: str, data: pydantic.BaseModel) -> Product:
    """Add to a product's stock"""
    product = Product(catalogue_key(), sku)

    try:
        await product.aupdate(
            [Product.stock.add(data.model_dump()["quantity"])], Product.pk.exists()
        )
    except UpdateError as error:
        if any(failed_conditions(error)):
            abort(404, unknown(sku))

        raise

    return product


def unknown(sku: str) -> str:
    return f"There is no product {sku!r}."
