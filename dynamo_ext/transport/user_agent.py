"""The header ``User-Agent``, built once for each set of features and not twice for each attempt.

botocore builds it each time, because the header tells AWS which features a call uses.
"""

from __future__ import annotations

import typing as t

import botocore.config
import botocore.useragent

Features = frozenset[str]


class UserAgent(botocore.useragent.UserAgentString):
    """botocore's, with the header kept for each set of features.

    A botocore session takes it as the component ``user_agent_creator``.
    """

    _kept: dict[Features, str] | None = None

    def with_client_config(self, client_config: botocore.config.Config) -> t.Self:
        """Create the copy that belongs to one client. It does not change after that.

        :param client_config: The client's configuration.
        """
        copy = super().with_client_config(client_config)
        copy._kept = {}
        return copy

    def to_string(self) -> str:
        """The header's value."""
        if self._kept is None:
            return super().to_string()

        features = _features_of_call()
        header = self._kept.get(features)

        if header is None:
            header = self._kept[features] = super().to_string()

        return header


def _features_of_call() -> Features:
    # Older releases of botocore have no features, and no such function.
    get_context: t.Any = getattr(botocore.useragent, "get_context", None)
    context = None if get_context is None else get_context()
    return frozenset() if context is None else frozenset(context.features)
