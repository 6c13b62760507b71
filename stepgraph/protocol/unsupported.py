"""What LangGraph has and stepgraph has not: the message that every such method and argument gives."""

from __future__ import annotations

from typing import Final

from stepgraph.errors import UnsupportedError

PAGE: Final = "docs/coming-from-langgraph.md"
"""The page that lists what is the same, what is different, and what is not there."""


def unsupported(what: str, feature: str, instead: str = "") -> UnsupportedError:
    """Return the error for what stepgraph has not.

    Args:
        what: the call, for the message: ``graph.stream``.
        feature: the name of the method or argument.
        instead: what to know or to do, as a sentence without its full stop.
    """
    advice = f" {instead[0].upper()}{instead[1:]}." if instead else ""
    return UnsupportedError(f"stepgraph has no {what}.{advice} What differs from LangGraph: {PAGE}.", feature=feature)
