"""The Quart app on trio."""

from __future__ import annotations

from quart_trio import QuartTrio

from apps.api import create_app

app = create_app(QuartTrio)
