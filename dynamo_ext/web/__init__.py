"""What a request needs. It knows no framework."""

from __future__ import annotations
