"""How this project's own pages are rendered: the browse page's and the timeline's alike."""

from __future__ import annotations

import jinja2

from ..printable import escaped


def environment(package: str) -> jinja2.Environment:
    """Make an environment for a package's own templates, which no option and no template of the
    app changes. It escapes HTML; the filter ``escaped`` escapes what must not reach a terminal.

    :param package: The package that has the templates.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["escaped"] = escaped
    return made
