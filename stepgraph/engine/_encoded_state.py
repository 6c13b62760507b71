"""A thread's values as JSON text, encoded and weighed channel by channel as they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.channels import NOTHING, Channel, Channels, size_by_channel
from stepgraph.engine.difference import common_start
from stepgraph.serde.json_values import JsonValues, longer
from stepgraph.serde.sizes import PAYLOAD_LIMIT, check_size


class EncodedState:
    """The values of a thread's head as JSON text.

    A channel that did not change is not encoded again; of a list that grew, only what was added.
    """

    def __init__(self, channels: Channels, what: str, *, limit: int = PAYLOAD_LIMIT) -> None:
        self._channels = channels
        self._what = what
        self._limit = limit
        self.bytes_encoded = 0
        """Bytes of all that was ever encoded: about what it takes to keep every state that there was."""
        self.values = JsonValues({})

    @property
    def size(self) -> int:
        """Bytes of the values as JSON, not counting keys and separators."""
        return self.values.size

    def set_values(self, values: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Goes from the values ``before`` to others; raises `PayloadTooLargeError` before anything is kept."""
        moved = JsonValues(
            {name: self._text(self._channels[name], value, before.get(name, NOTHING)) for name, value in values.items()}
        )
        check_size(self._what, moved.sizes, limit=self._limit)
        self.values = moved

    def check_size_with(self, given: Mapping[str, Any]) -> None:
        """Refuses an input that the state could not take."""
        sizes, more = self.values.sizes, size_by_channel(given)
        both = {name: sizes.get(name, 0) + more.get(name, 0) for name in sizes | more}
        check_size(f"{self._what} with its input", both, limit=self._limit)
        self.bytes_encoded += sum(more.values())

    def clear(self) -> None:
        """There are no values."""
        self.values = JsonValues({})

    def _text(self, channel: Channel, value: Any, before: Any) -> bytes:
        known = self.values.texts.get(channel.name) if before is not NOTHING else None
        if known is not None and value is before:
            return known
        if known is not None and channel.codec.concatenates and common_start(value, before) == len(before):
            added = channel.codec.text(value[len(before) :])
            self.bytes_encoded += len(added)
            return longer(known, added)
        text = channel.codec.text(value)
        self.bytes_encoded += len(text)
        return text
