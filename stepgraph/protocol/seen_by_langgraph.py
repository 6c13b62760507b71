"""Objects of stepgraph that LangGraph's code takes for its own: a tool may return our `Command`, a router our `Send`.

LangGraph's ``ToolNode`` and the writers of its nodes ask ``isinstance(value, Command)``, and drop what is something
else without a word.
"""

from __future__ import annotations

import sys
from typing import Any


class SeenByLangGraph:
    """The base of a class that has the name and the fields of one in ``langgraph.types``.

    ``isinstance`` asks a value for its ``__class__`` if its type does not settle the matter. Here that is LangGraph's
    class where LangGraph is loaded; it need not be installed. For `type` and for our own checks it is our class.
    """

    @property  # type: ignore[misc]  # a property in the place of an attribute that every object has
    def __class__(self) -> Any:
        """LangGraph's class of that name, or our own."""
        own = type(self)
        return getattr(langgraph_types(), own.__name__, own)


def langgraph_types() -> Any:
    """Return the module ``langgraph.types``; `None` if this process has not loaded it."""
    return sys.modules.get("langgraph.types")
