"""Endpoints, engines, and PynamoDB's connections on them."""

from __future__ import annotations
