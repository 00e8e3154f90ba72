"""How calls wait, and how several of them share the interpreter."""

from __future__ import annotations
