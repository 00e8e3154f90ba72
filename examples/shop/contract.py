"""What a view takes and answers. quart-schema checks and documents it."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import quart_schema
from quart import Quart
from quart_schema import HttpSecurityScheme
from quart_schema import Info
from quart_schema import OpenAPIProvider
from quart_schema import QuartSchema
from quart_schema import Tag
from werkzeug.routing import Rule

from .schemas import Error
from .schemas import Schema

View = cabc.Callable[..., cabc.Awaitable[t.Any]]


def contract(
    answer: Schema,
    status: int = 200,
    *,
    body: Schema | None = None,
    query: Schema | None = None,
    headers: Schema | None = None,
    errors: cabc.Iterable[int] = (),
) -> cabc.Callable[[View], View]:
    """Check and document what a view takes and answers. Below the route.

    :param answer: The schema of the answer. The view may return an item or a page: the schema takes
        from it what it names.
    :param status: The status of the answer.
    :param body: The schema of the request's body, which the view gets as ``data``.
    :param query: The schema of the query string: ``query_args``.
    :param headers: The schema of the headers: ``headers``.
    :param errors: The statuses of its errors, besides 401.
    """

    def decorate(view: View) -> View:
        for each in (401, *errors):
            quart_schema.document_response(Error, each)(view)

        validate = t.cast(t.Any, quart_schema.validate)(
            responses={status: (answer, None)}, request=body, querystring=query, headers=headers
        )
        return t.cast(View, validate(view))

    return decorate


class ApiDocument(OpenAPIProvider):
    """The OpenAPI document of the API: not of the page to look at data."""

    def generate_rules(self) -> cabc.Iterable[Rule]:
        return (rule for rule in super().generate_rules() if rule.endpoint.startswith("api."))


def init_app(app: Quart) -> None:
    """Serve the document at ``/openapi.json``, and pages that show it at ``/docs`` and others.

    :param app: The app.
    """
    QuartSchema(
        app,
        info=Info(title="Shop", version="1.0", description="One shop for each tenant."),
        tags=[Tag("Products"), Tag("Customers"), Tag("Orders")],
        security_schemes={"token": HttpSecurityScheme(scheme="bearer")},
        security=[{"token": []}],
        openapi_provider_class=ApiDocument,
    )
