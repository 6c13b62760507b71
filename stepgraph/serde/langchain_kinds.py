"""LangChain's messages and documents: the classes of `langchain_core` that may occur in values, each with its tag.

Imports `langchain_core` when a value or a tag needs it, never before. A process that has no LangChain runs graphs
without messages, and says what to install where it meets one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from stepgraph.serde.class_kinds import model_kind
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_kinds import Kind

MESSAGE: Final = "message"
"""The tag of a message. Its class is told by its field ``type``, which the fold ``messages@1`` reads, too."""

_MESSAGES: Final = {
    "ai": "langchain_core.messages.ai.AIMessage",
    "human": "langchain_core.messages.human.HumanMessage",
    "system": "langchain_core.messages.system.SystemMessage",
    "tool": "langchain_core.messages.tool.ToolMessage",
    "chat": "langchain_core.messages.chat.ChatMessage",
    "function": "langchain_core.messages.function.FunctionMessage",
    "remove": "langchain_core.messages.modifier.RemoveMessage",
    "AIMessageChunk": "langchain_core.messages.ai.AIMessageChunk",
    "HumanMessageChunk": "langchain_core.messages.human.HumanMessageChunk",
    "SystemMessageChunk": "langchain_core.messages.system.SystemMessageChunk",
    "ToolMessageChunk": "langchain_core.messages.tool.ToolMessageChunk",
    "ChatMessageChunk": "langchain_core.messages.chat.ChatMessageChunk",
    "FunctionMessageChunk": "langchain_core.messages.function.FunctionMessageChunk",
}
_BASE_MESSAGE: Final = "langchain_core.messages.base.BaseMessage"
_OTHERS: Final = {
    "document": "langchain_core.documents.base.Document",
    "agent_action": "langchain_core.agents.AgentAction",
    "agent_action_with_messages": "langchain_core.agents.AgentActionMessageLog",
    "agent_step": "langchain_core.agents.AgentStep",
    "agent_finish": "langchain_core.agents.AgentFinish",
    "text_prompt": "langchain_core.prompt_values.StringPromptValue",
    "chat_prompt": "langchain_core.prompt_values.ChatPromptValue",
    "generation": "langchain_core.outputs.generation.Generation",
    "chat_generation": "langchain_core.outputs.chat_generation.ChatGeneration",
    "chat_result": "langchain_core.outputs.chat_result.ChatResult",
    "llm_result": "langchain_core.outputs.llm_result.LLMResult",
}

_TAGS: Final = dict.fromkeys(_MESSAGES.values(), MESSAGE) | {path: tag for tag, path in _OTHERS.items()}


@lru_cache(maxsize=1_000)
def langchain_kind_of(cls: Any) -> Kind | None:
    """Return the kind of one of LangChain's classes; `None` for any other class."""
    path = f"{cls.__module__}.{cls.__qualname__}"
    return model_kind(cls, _TAGS[path], without_defaults=True) if path in _TAGS and _class_at(path) is cls else None


def is_message_class(cls: Any) -> bool:
    """Return whether a class is that of a message, LangChain's or one derived from it."""
    return any(f"{base.__module__}.{base.__qualname__}" == _BASE_MESSAGE for base in cls.__mro__)


def langchain_kind(tag: Any, fields: Mapping[str, Any]) -> Kind | None:
    """Return the kind of one of LangChain's classes by a tag; `None` for any other tag.

    Args:
        tag: the tag.
        fields: the data beside it, of which a message's has the class.

    Raises:
        RoundTripError: there is no such message, or this process has no LangChain.
    """
    if tag == MESSAGE:
        if (message_type := fields.get("type")) not in _MESSAGES:
            raise RoundTripError(f"a message has the type {message_type!r}, but the types are {', '.join(_MESSAGES)}")
        return _kind_at(_MESSAGES[message_type])
    return _kind_at(_OTHERS[tag]) if tag in _OTHERS else None


@lru_cache
def _kind_at(path: str) -> Kind | None:
    return langchain_kind_of(_class_at(path))


def _class_at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(langchain_module(module), name)


def langchain_module(name: str) -> Any:
    """Return a module of `langchain_core`. Raises `RoundTripError` if this process has no LangChain."""
    try:
        return import_module(name)
    except ImportError as error:
        raise RoundTripError(
            "messages and documents need LangChain, which is not installed: pip install 'stepgraph[langgraph]'"
        ) from error
