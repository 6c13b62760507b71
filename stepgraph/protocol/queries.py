"""What queries are asked."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from stepgraph.protocol.commands import UpdateCommand
from stepgraph.protocol.message import Message

HISTORY_PAGE: Final = 100
"""Checkpoints a history query answers at the most; the rest is asked for with ``before``."""


HISTORY_BYTES: Final = 16_000_000
"""Bytes of checkpoints after which it answers no more, either."""


class Query(Message):
    model_config = ConfigDict(frozen=True, extra="forbid")  # people write these by hand, and mistype

    page: int = Field(0, ge=0)


class HistoryRequest(Query):
    """What `GET_HISTORY` is asked."""

    limit: int | None = Field(None, ge=0)
    before: str | None = None
    """A checkpoint id of the run: only what is older."""
    filter: dict[str, Any] | None = None


class StateRequest(Query):
    """What `GET_STATE` and `GET_RECORD` are asked; without a checkpoint id, about the head."""

    checkpoint_id: str | None = None


class CheckRequest(Query):
    """What `CHECK` is asked of a closed run: whether its thread's next run would refuse this order."""

    kind: Literal["update", "fork"]
    command: UpdateCommand


class ValuesRequest(StateRequest):
    """What `GET_VALUES` is asked."""

    since: str | None = None
    """A checkpoint whose values the asker has: tell what differs from them."""
