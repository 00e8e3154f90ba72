"""The transport ``direct``: HTTP/1.1 of our own on sockets that urllib3 opened."""

from __future__ import annotations
