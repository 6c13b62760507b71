"""The state of a graph that holds a conversation, with LangChain's messages.

Imported only when one of its names is used: it needs `langchain_core`.
"""

from __future__ import annotations

from typing import Annotated

from typing_extensions import TypedDict

from stepgraph.engine.folds import REMOVE_ALL
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.message_reducer import add_messages

try:
    from langchain_core.messages import AnyMessage
except ImportError as error:
    raise GraphDefinitionError(
        "stepgraph.MessagesState needs LangChain, which is not installed: pip install 'stepgraph[langgraph]'."
    ) from error

REMOVE_ALL_MESSAGES = REMOVE_ALL
"""The id of a `RemoveMessage` that removes all messages before it."""


class MessagesState(TypedDict):
    """A state with the key ``messages``. Subclass it to add keys.

    Examples:
        >>> class State(MessagesState):  # doctest: +SKIP
        ...     summary: str
    """

    messages: Annotated[list[AnyMessage], add_messages]
