"""Which app a call is for, and what that app makes of a model."""

from __future__ import annotations
