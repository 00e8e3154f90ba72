"""Schemas of models, for the validation of requests and for OpenAPI documents.

This needs pydantic, which the extra ``schema`` installs.
"""

from __future__ import annotations

try:
    import pydantic as _pydantic
except ModuleNotFoundError as _error:
    raise ImportError(
        f"'dynamo_ext.schema' needs {_error.name!r}, which is not installed. Install the extra:"
        ' pip install "dynamo-ext[schema]"'
    ) from _error

from .web.schema import pydantic_model

del _pydantic

__all__ = ["pydantic_model"]
