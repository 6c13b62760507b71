"""What converts the values of a channel: the methods that `TypeCodec` and `TaggedCodec` have in common."""

from __future__ import annotations

from typing import Any, Protocol


class ValueCodec(Protocol):
    """Values to JSON data and back."""

    annotation: Any
    """The declared type, for error messages."""
    plain_kind: str
    """The kind of the values, if built-in folds suit them; see `TypeCodec.plain_kind`."""

    def fingerprint(self) -> str:
        """Return what tells the type from others, the same in every process."""

    def encode(self, value: Any) -> Any:
        """Return JSON data for any value. Raises `RoundTripError` if it would not come back unchanged."""

    def decode(self, encoded: Any) -> Any:
        """Return a new value from JSON data. Raises an error of pydantic's or a `RoundTripError` if it does not fit."""

    def decode_text(self, text: bytes) -> Any:
        """Return a new value from JSON text. Raises like `decode`."""

    def prove(self, encoded: Any) -> Any:
        """Return a new value from JSON data that another type may have written. Raises `RoundTripError`."""

    def coerce(self, value: Any) -> Any:
        """Return what a caller wrote, converted to the type. Raises like `decode`."""
