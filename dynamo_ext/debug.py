"""A panel for Flask-DebugToolbar: what a request did to DynamoDB.

It is named in the app's configuration, as ``dynamo_ext.debug.DynamoDBPanel`` in
``DEBUG_TB_PANELS``.
"""

from __future__ import annotations

try:
    from flask_debugtoolbar.panels import DebugPanel as _DebugPanel
except ModuleNotFoundError as _error:
    raise ImportError(
        f"'dynamo_ext.debug' needs {_error.name!r}, which is not installed. Install it:"
        " pip install Flask-DebugToolbar"
    ) from _error

from .web import recorder as _recorder
from .web import timeline as _timeline

__all__ = ["DynamoDBPanel"]


class DynamoDBPanel(_DebugPanel):
    """Shows the calls of the request as a timeline, with advice."""

    name: str = "DynamoDB"
    has_content: bool = True

    def nav_title(self) -> str:
        """The title in the toolbar."""
        return "DynamoDB"

    def nav_subtitle(self) -> str:
        """How many calls there were, and how long they took."""
        recording = _recorder.current()

        if recording is None:
            return "not recorded"

        number = recording.call_count
        calls = "call" if number == 1 else "calls"
        return f"{number} {calls}, {recording.call_seconds * 1000:.1f} ms"

    def title(self) -> str:
        """The title above the panel."""
        return "DynamoDB"

    def url(self) -> str:
        """Nowhere: the panel is in the page."""
        return ""

    def content(self) -> str:
        """The timeline, as HTML."""
        return _timeline.render_alone(_recorder.current())
