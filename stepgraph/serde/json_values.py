"""The values of a state as JSON text, channel by channel: the form in which they travel and are cached.

JSON text needs a fraction of the memory that the same data needs as Python objects, and its size is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from stepgraph.serde.plain_json import json_size


class JsonValues(Mapping[str, Any]):
    """A mapping from channel to JSON data that holds JSON text.

    An item is parsed anew each time it is read, so the reader may change what it gets.
    """

    __slots__ = ("texts",)

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self.texts = dict(texts)
        """JSON text by channel. Several states share the same `bytes` objects."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> JsonValues:
        """Return JSON data as `JsonValues`; a `JsonValues` itself if it already is one."""
        return values if isinstance(values, cls) else cls({name: to_json(value) for name, value in values.items()})

    @property
    def size(self) -> int:
        """Bytes of text of all channels and their names, as one JSON object has them."""
        return sum(map(len, self.texts.values())) + sum(map(len, self.texts)) + 4 * len(self.texts)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of text by channel."""
        return {name: len(text) for name, text in self.texts.items()}

    def to_data(self) -> dict[str, Any]:
        """Return all values as new JSON data, which the caller may change."""
        return {name: from_json(text) for name, text in self.texts.items()}

    def __getitem__(self, name: str) -> Any:
        return from_json(self.texts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"JsonValues({self.sizes})"


def size_by_channel(values: Mapping[str, Any]) -> dict[str, int]:
    """Return the bytes of JSON text that each channel takes."""
    return {name: json_size(value) for name, value in values.items()}


def concatenate_lists(first: bytes, second: bytes) -> bytes:
    """Return the JSON text of two lists as one list, without parsing them: ``[1]`` and ``[2]`` make ``[1,2]``."""
    if second == b"[]":
        return first
    return second if first == b"[]" else b",".join((memoryview(first)[:-1], memoryview(second)[1:]))
