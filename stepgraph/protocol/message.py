"""The base class of the messages that processes exchange."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Immutable data with a short JSON form. Unknown fields are ignored: another version of stepgraph may send them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """Return the message as JSON data, without the fields that have their default."""
        return self.model_dump(mode="json", exclude_defaults=True)
