"""How requests are signed, sent and parsed."""

from __future__ import annotations
