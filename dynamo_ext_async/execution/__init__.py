"""Where an awaited call runs: in a worker thread, or in the hub."""

from __future__ import annotations
