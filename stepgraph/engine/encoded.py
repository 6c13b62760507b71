"""A thread's values as JSON data, encoded and weighed channel by channel as they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.channels import Channels, size_by_channel
from stepgraph.limits import weigh


class EncodedState:
    """The values of a thread's head as JSON data. A channel that did not change is not encoded again."""

    def __init__(self, channels: Channels, what: str) -> None:
        self._channels = channels
        self._what = what
        self._sizes: dict[str, int] = {}
        self.values: dict[str, Any] = {}
        """Shared, never edited."""

    @property
    def size(self) -> int:
        """Bytes of the values as JSON, not counting keys and separators."""
        return sum(self._sizes.values())

    def move(self, values: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Goes from the values ``before`` to others; raises `PayloadTooLargeError` before anything is kept."""
        changed = {name: value for name, value in values.items() if name not in before or value is not before[name]}
        encoded = self._channels.encode(changed)
        sizes = {**{name: size for name, size in self._sizes.items() if name in values}, **size_by_channel(encoded)}
        weigh(self._what, sizes)
        self.values = {name: encoded[name] if name in encoded else self.values[name] for name in values}
        self._sizes = {name: sizes[name] for name in values}

    def weigh_with(self, given: Mapping[str, Any]) -> None:
        """Refuses an input that the state could not take."""
        more = size_by_channel(given)
        sizes = {name: self._sizes.get(name, 0) + more.get(name, 0) for name in (*self._sizes, *more)}
        weigh(f"{self._what} with its input", sizes)

    def clear(self) -> None:
        """There are no values."""
        self.values, self._sizes = {}, {}
