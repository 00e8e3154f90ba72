from __future__ import annotations

import importlib.metadata

from sphinx.application import Sphinx

project = "dynamo-ext"
copyright = "2026, dynamo-ext contributors"
author = "dynamo-ext contributors"
release = importlib.metadata.version("dynamo-ext")
version = release.rpartition(".")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

# Every reference has to lead somewhere, but the inventories of other projects are not fetched:
# a build needs no network. So what belongs to them is named here.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(flask|quart|werkzeug|click|pynamodb|botocore|anyio|aiologic|opentelemetry|pydantic)\..+",
    ),
    (r"py:class", r"[A-Z]"),  # type variables
    (r"py:.*", r"(collections\.abc|contextlib|typing|types|cabc|t)\..+"),
    # Names that are imported for type checkers only, type variables, and PynamoDB's own wording.
    (r"py:class", r"App|Self"),
    (r"py:.*", r"(~|dynamo_ext(_async)?(\.\w+)+\.)[A-Z]"),
    (r"py:exc", r"ModelInstance\.DoesNotExist"),
]

html_theme = "furo"
html_title = "dynamo-ext"

_CREATED_BY_USERS = {"PynamoDB"}


def _drop_parameters(
    app: Sphinx, what: str, name: str, described: object, options: object, lines: list[str]
) -> None:
    """Leave out the parameters of classes of which users create no objects."""
    if what == "class" and name.rpartition(".")[2] not in _CREATED_BY_USERS:
        fields = "\n".join(lines).partition("\n:param")
        lines[:] = fields[0].splitlines()


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _drop_parameters)
