"""Items between tables and files: what ``export`` and ``import`` do, without command line."""

from __future__ import annotations
