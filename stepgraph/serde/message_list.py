"""Lists of LangChain's messages: what counts as a message, and the list as data for the fold ``messages@1``.

A message gets its id where it is encoded, in the process of a client or in an activity: the fold, which runs in the
workflow, tells messages apart by their ids and makes none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from stepgraph.serde.error_text import first_line, value_text
from stepgraph.serde.langchain_kinds import langchain_module
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_values import TaggedCodec


def to_messages(value: Any) -> list[Any]:
    """Return one message, or a list of them, as a list of LangChain's message objects.

    A text is a human message, a pair a role and a text, a mapping has the keys ``role`` and ``content``. A message
    without an id gets one, as in LangGraph also the caller's own object. A chunk becomes the message that it is part
    of.

    Raises:
        RoundTripError: a value is no message, or this process has no LangChain.
    """
    langchain = langchain_module("langchain_core.messages")
    messages = as_messages(value if isinstance(value, list) else [value])
    for place, message in enumerate(messages):
        if isinstance(message, langchain.BaseMessageChunk):
            message = messages[place] = langchain.message_chunk_to_message(message)
        if message.id is None:
            message.id = str(uuid.uuid4())
    return messages


def as_messages(values: Sequence[Any]) -> list[Any]:
    """Return what stands for messages as message objects, without giving them ids.

    Raises:
        RoundTripError: a value is no message, or this process has no LangChain.
    """
    langchain = langchain_module("langchain_core.messages")
    if all(isinstance(value, langchain.BaseMessage) for value in values):
        return list(values)
    try:
        return list(langchain.convert_to_messages(values))
    except Exception as error:  # LangChain has several types of errors for it
        culprit = next((value for value in values if not isinstance(value, langchain.BaseMessage)), values)
        raise RoundTripError(f"{value_text(culprit)} is no message: {first_line(error)}") from error


MESSAGE_LIST: Final = "messages"
"""`TypeCodec.plain_kind` of lists of messages: the built-in fold of messages suits no other."""


class MessageListCodec(TaggedCodec):
    """Encodes and decodes lists of messages. Whatever counts as a message becomes one; see `to_messages`.

    Args:
        classes: the author's classes that may occur: subclasses of messages, or parts of artifacts.
        annotation: the declared type, for error messages.
    """

    def __init__(self, classes: Iterable[type] = (), *, annotation: Any = list) -> None:
        super().__init__(classes, plain_kind="list")
        self.annotation = annotation
        self.plain_kind = MESSAGE_LIST

    def encode(self, value: Any) -> Any:
        """Return JSON data for messages. Raises `RoundTripError` if one is none, or would not come back unchanged."""
        return super().encode(to_messages(value))

    def coerce(self, value: Any) -> Any:
        """Return messages as a list of message objects. Raises `RoundTripError`."""
        return to_messages(value)

    def decode(self, encoded: Any) -> Any:
        """Return a new list of messages from JSON data, which a person may also have written, without tags."""
        return to_messages(super().decode(encoded))

    def decode_text(self, text: bytes) -> Any:
        """Return a new list of messages from JSON text."""
        return to_messages(super().decode_text(text))
