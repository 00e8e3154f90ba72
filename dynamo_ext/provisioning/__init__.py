"""Tables as they should be and as they are, their differences, and the steps between them."""

from __future__ import annotations
