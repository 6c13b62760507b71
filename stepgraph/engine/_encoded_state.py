"""The values at a thread's head as JSON text, re-encoded only where they change."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from stepgraph.engine.changes import NOTHING
from stepgraph.serde.json_values import JsonValues, concatenate_lists, size_by_channel
from stepgraph.serde.sizes import PAYLOAD_LIMIT, check_size


class EncodedState:
    """The JSON text of the head's values, with its size.

    A channel whose value did not change is not encoded again. Of a list that only grew, the new items are encoded.

    Args:
        subject: whose state it is, for the error about a state that is too large.
        limit: bytes of JSON that the state may have.
    """

    def __init__(self, subject: str, *, limit: int = PAYLOAD_LIMIT) -> None:
        self._subject = subject
        self._limit = limit
        self.bytes_encoded = 0
        """Bytes of JSON encoded so far: an estimate of the memory that all checkpoints of the run take."""
        self.values = JsonValues({})

    @property
    def size(self) -> int:
        """Bytes of the values as JSON."""
        return self.values.size

    def set_values(self, values: Mapping[str, Any], previous: Mapping[str, Any], *, sent: int = 0) -> None:
        """Replace the values.

        Args:
            values: the new values.
            previous: the values that are encoded now. Channels whose value is the same object are not encoded again.
            sent: bytes of the inputs of sent tasks, which must fit beside the values.

        Raises:
            PayloadTooLargeError: they are too large; the previous values stay.
        """
        encoded = JsonValues(
            {name: self._text(name, value, previous.get(name, NOTHING)) for name, value in values.items()}
        )
        if sent:
            beside = "the inputs of sent tasks"
            check_size(f"{self._subject} with {beside}", {**encoded.sizes, beside: sent}, limit=self._limit)
        check_size(self._subject, encoded.sizes, limit=self._limit)
        self.values = encoded
        self.bytes_encoded += sent

    def check_input_size(self, input_data: Mapping[str, Any]) -> None:
        """Check that the state and an input fit into the limit together, and add the input to `bytes_encoded`.

        Raises:
            PayloadTooLargeError: they do not fit.
        """
        sizes, input_sizes = self.values.sizes, size_by_channel(input_data)
        total_sizes = {name: sizes.get(name, 0) + input_sizes.get(name, 0) for name in sizes | input_sizes}
        check_size(f"{self._subject} with its input", total_sizes, limit=self._limit)
        self.bytes_encoded += sum(input_sizes.values())

    def check_beside(self, subject: str, size: int) -> None:
        """Check that the state and something else that the record has fit into the limit together.

        Raises:
            PayloadTooLargeError: they do not fit.
        """
        check_size(f"{self._subject} with {subject}", {**self.values.sizes, subject: size}, limit=self._limit)

    def clear(self) -> None:
        """Drop all values: the thread has no checkpoint."""
        self.values = JsonValues({})

    def _text(self, name: str, value: Any, previous: Any) -> bytes:
        previous_text = self.values.texts.get(name) if previous is not NOTHING else None
        if previous_text is not None and value is previous:
            return previous_text
        if previous_text is not None and _is_longer_list(value, previous):
            added = to_json(value[len(previous) :])
            self.bytes_encoded += len(added)
            return concatenate_lists(previous_text, added)
        text = to_json(value)
        self.bytes_encoded += len(text)
        return text


def _is_longer_list(value: Any, previous: Any) -> bool:
    """Return whether a list begins with all items of another: with the same objects, not with equal ones."""
    if not isinstance(value, list) or not isinstance(previous, list) or len(value) < len(previous):
        return False
    return all(map(operator.is_, value, previous))
