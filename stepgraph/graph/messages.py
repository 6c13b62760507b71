"""The state of a graph that holds a conversation, with LangChain's messages.

Imported only when one of its names is used: it needs `langchain_core`.
"""

from __future__ import annotations

from typing import Annotated, Any

from typing_extensions import TypedDict

from stepgraph.engine.folds import REMOVE_ALL
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.message_reducer import add_messages
from stepgraph.execution.task_context import push
from stepgraph.serde.message_list import as_messages

try:
    from langchain_core.messages import AnyMessage
except ImportError as error:
    raise GraphDefinitionError(
        "stepgraph.MessagesState needs LangChain, which is not installed: pip install 'stepgraph[langgraph]'."
    ) from error

REMOVE_ALL_MESSAGES = REMOVE_ALL
"""The id of a `RemoveMessage` that removes all messages before it."""


def push_message(message: Any, *, state_key: str | None = "messages") -> AnyMessage:
    """Write a message while a node runs, before what it returns.

    Args:
        message: a message with an id, or what stands for one.
        state_key: the key of the state that it is written to; with `None`, to none.

    Returns:
        The message as an object.

    Raises:
        ValueError: the message has no id, or the value stands for none.
        OutsideNodeError: called outside a node.
    """
    (pushed,) = as_messages([message])
    if pushed.id is None:
        raise ValueError("push_message() takes a message with an id, by which a later write can replace it.")
    push({state_key: pushed} if state_key else {}, "push_message()")
    return pushed  # type: ignore[no-any-return]  # one of LangChain's message classes


class MessagesState(TypedDict):
    """A state with the key ``messages``. Subclass it to add keys.

    Examples:
        >>> class State(MessagesState):  # doctest: +SKIP
        ...     summary: str
    """

    messages: Annotated[list[AnyMessage], add_messages]
