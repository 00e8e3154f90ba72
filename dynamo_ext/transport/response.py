"""Replies, and what botocore is handed of one: an object of its own class."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import io
import typing as t

import urllib3
from botocore.awsrequest import AWSResponse
from botocore.awsrequest import HeadersDict


@dataclasses.dataclass(slots=True)
class Reply:
    """One complete, final reply."""

    status_code: int
    headers: cabc.Mapping[str, str]
    """By name in lower case. Values of a name that came twice are joined by a comma."""

    body: bytes


class Response(AWSResponse):
    """botocore's own response, for a reply that has been read already.

    Whatever botocore is handed (its retry checkers, its quota, its error parsing) is of its own
    class. Its headers, which are costly to build, are built only where botocore looks at them.

    :param url: Where the request was sent.
    :param reply: What came back.
    """

    def __init__(self, url: str, reply: Reply) -> None:
        self.url: str = url
        self.status_code: int = reply.status_code
        self._reply = reply
        self._content = reply.body

    if not t.TYPE_CHECKING:

        @functools.cached_property
        def headers(self) -> HeadersDict:
            """The headers; the case of their names does not matter."""
            return HeadersDict(t.cast(t.Any, self._reply.headers))

        @functools.cached_property
        def raw(self) -> urllib3.HTTPResponse:
            """The same reply as urllib3 would give it."""
            return urllib3.HTTPResponse(
                io.BytesIO(self._reply.body),
                headers=self._reply.headers,
                status=self.status_code,
                preload_content=False,
            )

    def to_parse(self) -> dict[str, t.Any]:
        """What our parser takes, with the names of headers in lower case."""
        reply = self._reply
        return {"status_code": reply.status_code, "headers": reply.headers, "body": reply.body}
