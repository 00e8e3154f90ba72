"""One call's life: slot, deadline, retries, record."""

from __future__ import annotations
