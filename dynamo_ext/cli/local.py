"""``flask dynamodb local`` and ``quart dynamodb local``."""

from __future__ import annotations

import pathlib
import typing as t

import click
from flask.sansio.app import App


@click.command("local")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port. Default: a free one, which is printed.",
)
@click.option(
    "--file",
    metavar="FILE",
    help="Keep the tables in this file. A relative path begins in the app's instance folder, as in"
    " 'local:///FILE'.",
)
@click.pass_context
def local(click_context: click.Context, /, *, port: int, file: str | None) -> None:
    """Run the embedded engine as a server of its own, until Ctrl-C.

    It prints its address. Without --file, its tables are in memory.
    """
    # Most apps never import it.
    from ..local import __main__ as engine

    arguments = ["--port", str(port)]

    if file is not None:
        folder = pathlib.Path(t.cast(App, click_context.obj.load_app()).instance_path)

        if not pathlib.Path(file).is_absolute():
            folder.mkdir(parents=True, exist_ok=True)

        arguments += ["--file", str(folder / file)]

    engine.main(arguments)
