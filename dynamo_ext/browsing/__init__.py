"""The page to look at data: what it shows and does, without a framework."""

from __future__ import annotations
