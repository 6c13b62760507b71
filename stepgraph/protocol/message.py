"""The base class of everything that crosses between processes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)
