"""The arguments of queries, and the size of their answers."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from stepgraph.protocol.commands import UpdateCommand
from stepgraph.protocol.message import Message

HISTORY_PAGE: Final = 100
"""The largest number of checkpoints in one answer to `GET_HISTORY`. Clients query for older ones with ``before``."""

HISTORY_BYTES: Final = 16_000_000
"""Bytes of checkpoints after which an answer to `GET_HISTORY` ends, however few they are."""


class Query(Message):
    """The base class of arguments."""

    page: int = Field(0, ge=0)
    """Which page of a large answer to return; see `stepgraph.protocol.paging`."""
    etag: str | None = None
    """The answer whose page is meant; `None` for a first page."""


class HistoryRequest(Query):
    """The argument of `GET_HISTORY`."""

    limit: int | None = Field(None, ge=0)
    """The largest number of checkpoints to return; at most `HISTORY_PAGE`."""
    before: str | None = None
    """A checkpoint id: return only older checkpoints."""
    filter: dict[str, Any] | None = None
    """Return only checkpoints whose metadata have these values."""


class StateRequest(Query):
    """The argument of `GET_STATE` and `GET_RECORD`."""

    checkpoint_id: str | None = None
    """The checkpoint to return; the head by default."""


class CheckRequest(Query):
    """The argument of `CHECK`: a command for a closed thread. The answer says if the next run would refuse it."""

    kind: Literal["update", "fork"]
    command: UpdateCommand


class ValuesRequest(StateRequest):
    """The argument of `GET_VALUES`."""

    since: str | None = None
    """A checkpoint whose values the client has. If the run knows it, the answer is the difference from them."""
