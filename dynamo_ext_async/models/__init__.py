"""PynamoDB's models, bound late to the current app."""

from __future__ import annotations
