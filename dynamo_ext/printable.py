"""Text from outside, made safe for a log line, a message or a terminal."""

from __future__ import annotations


def escaped(text: object) -> str:
    """Escape what could forge a log line, steer a terminal or fail to be encoded.

    That is whatever Python does not consider printable: line breaks of any kind, control
    characters, marks that change the direction of writing, lone surrogates. A backslash is doubled,
    so that the original can be told from the result.

    :param text: What a server, a file or a name of the app holds.
    :return: The text, on one line.
    """
    shown = str(text)

    if shown.isprintable() and "\\" not in shown:
        return shown

    # Escapes of repr, without its quotes and without what it makes of quotes.
    return "".join(c if c.isprintable() and c != "\\" else repr(c)[1:-1] for c in shown)
