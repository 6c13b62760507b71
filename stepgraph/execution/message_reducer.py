"""`add_messages`: the reducer of a channel that holds a conversation.

Owns the function that users call, and the recognition of LangGraph's own, so that either means the built-in fold
``messages@1``.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

from stepgraph.engine.folds import REMOVE_ALL
from stepgraph.serde.langchain_kinds import langchain_module
from stepgraph.serde.message_list import to_messages

OPENAI = "langchain-openai"

_LANGGRAPHS = ("_add_messages_wrapper.<locals>._add_messages", "add_messages")
"""Names of LangGraph's reducer: the one that users import, and the one in the `functools.partial` that it returns."""


def add_messages(left: Any = None, right: Any = None, *, format: Literal["langchain-openai"] | None = None) -> Any:
    """Merge messages into a list of messages: append what is new, replace by id, remove what `RemoveMessage` names.

    Use it as a reducer. Of a channel with it, all writes are messages, a list of them or a single one: LangChain's
    objects, texts, pairs of a role and a text, mappings with the keys ``role`` and ``content``.

    Args:
        left: the messages.
        right: the messages to merge into them. A ``RemoveMessage(REMOVE_ALL_MESSAGES)`` removes all before it.
        format: ``"langchain-openai"`` gives the messages contents in the form of OpenAI's API. Without messages, the
            result is a reducer with this format.

    Examples:
        >>> class State(TypedDict):  # doctest: +SKIP
        ...     messages: Annotated[list, add_messages]

    Raises:
        ValueError: a message is to be removed that is not there, or the arguments are unknown or incomplete.
    """
    if format not in (None, OPENAI):
        raise ValueError(f"add_messages takes format={OPENAI!r} or None; got {format!r}.")
    if left is None and right is None:
        return functools.partial(add_messages, format=format)
    if left is None or right is None:
        raise ValueError("add_messages takes both the messages and what to merge into them; one of them is None.")
    merged = _merge(to_messages(left), to_messages(right))
    if format is None:
        return merged
    langchain = langchain_module("langchain_core.messages")
    return langchain.convert_to_messages(langchain.convert_to_openai_messages(merged))


def is_add_messages(reducer: Any) -> bool:
    """Return whether a reducer is `add_messages`, ours or LangGraph's, in any format."""
    function = reducer.func if isinstance(reducer, functools.partial) else reducer
    if function is add_messages:
        return True
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return module == "langgraph.graph.message" and name in _LANGGRAPHS


def only_merges(reducer: Any) -> bool:
    """Return whether a reducer is `add_messages` without a format: it merges messages and does nothing else."""
    if not is_add_messages(reducer):
        return False
    return not (isinstance(reducer, functools.partial) and reducer.keywords.get("format"))


def _merge(messages: list[Any], changes: list[Any]) -> list[Any]:
    """Return the merged messages. The fold ``messages@1`` does the same with their data."""
    for place in reversed(range(len(changes))):
        if _removes(changes[place]) and changes[place].id == REMOVE_ALL:
            return changes[place + 1 :]
    merged = dict(enumerate(messages))
    places = {message.id: number for number, message in merged.items()}
    removed = set()
    for message in changes:
        if _removes(message):
            if message.id not in places:
                raise ValueError(f"Attempting to delete a message with an ID that doesn't exist ('{message.id}')")
            removed.add(message.id)
        else:
            removed.discard(message.id)
            merged[places.setdefault(message.id, len(merged))] = message
    return [message for message in merged.values() if message.id not in removed]


def _removes(message: Any) -> bool:
    return bool(message.type == "remove")
