"""``Place``: where the calls of an engine really go, for people and for confirmations."""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse

from ..config import local_file
from ..transport import loopback

if t.TYPE_CHECKING:
    from .engine import Engine

_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")
_HERE = "localhost"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where calls go."""

    url: str
    """The URL, without login and query; or that of an embedded engine as it is set."""

    region: str
    is_embedded: bool = False

    @classmethod
    def of(cls, engine: Engine) -> t.Self:
        """The place of an engine's calls.

        :param engine: The engine. An embedded one is not started.
        """
        region, host = engine.endpoint.region, engine.endpoint.host

        if host is not None and local_file.is_embedded(host):
            return cls(url=host, region=region, is_embedded=True)

        # Not the setting: botocore may have the URL from the environment or AWS's own files.
        url = _without_login(str(engine.client.meta.endpoint_url))
        return cls(url=url, region=region)

    @property
    def host(self) -> str:
        """The host, in lower case."""
        return _HERE if self.is_embedded else urllib.parse.urlsplit(self.url).hostname or ""

    @property
    def host_and_port(self) -> str:
        """The host, with the port if the URL names one."""
        return _HERE if self.is_embedded else urllib.parse.urlsplit(self.url).netloc.lower()

    @property
    def is_aws(self) -> bool:
        """Whether it is AWS itself, where the region says it all."""
        return self.host.endswith(_AWS)

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by its name alone: DNS is not asked."""
        return self.is_embedded or loopback.is_named_loopback(self.host)


def _without_login(url: str) -> str:
    """A URL may hold a password."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")
    )
