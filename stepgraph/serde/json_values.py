"""A state as JSON text, channel by channel: what travels, and what a process keeps at hand.

Text is a fraction of what the same data takes as Python objects, and its size is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json


class JsonValues(Mapping[str, Any]):
    """Reads as a mapping of JSON data; an item is parsed each time it is read, and so is the reader's own."""

    __slots__ = ("texts",)

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self.texts = dict(texts)
        """By channel. Shared between states, never edited."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> JsonValues:
        """From JSON data."""
        return values if isinstance(values, cls) else cls({name: to_json(value) for name, value in values.items()})

    @property
    def size(self) -> int:
        """Bytes of text, not counting keys and separators."""
        return sum(map(len, self.texts.values()))

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of text by channel."""
        return {name: len(text) for name, text in self.texts.items()}

    def to_data(self) -> dict[str, Any]:
        """All of it as JSON data of the caller's own."""
        return {name: from_json(text) for name, text in self.texts.items()}

    def __getitem__(self, name: str) -> Any:
        return from_json(self.texts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"JsonValues({self.sizes})"


def longer(text: bytes, more: bytes) -> bytes:
    """The text of a list that another one was appended to."""
    if more == b"[]":
        return text
    return more if text == b"[]" else b",".join((memoryview(text)[:-1], memoryview(more)[1:]))
