"""The request to have the graph's code apply writes, and the answer: the activity ``<graph>.apply_writes``.

It folds what several tasks wrote to one channel with a custom fold, asks the routers that were not asked, and completes
updates and inputs made by hand: their values are coerced to the declared types.
"""

from __future__ import annotations

from typing import Any

from stepgraph.engine.changes import Change
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.folding import Applied, Entry
from stepgraph.errors import from_wire
from stepgraph.protocol.message import Message
from stepgraph.protocol.task_request import CodeRequest
from stepgraph.serde.formats import Data


class AuthorWrites(Data):
    """What one task of a super-step wrote, or one update by hand writes."""

    key: str
    """Tells it from the others."""
    node: str
    """The node, or the virtual author."""
    result: TaskResult
    coerce: bool = False
    """Whether the values are to be coerced to the declared types, because nobody with the graph's code has."""
    exact: bool = False
    """Whether the values must come back unchanged, because other code of the graph has encoded them."""
    complete: bool = False
    """Whether to fold its own writes, for an update by hand; a task has done so itself."""
    route: bool = False
    """Whether to ask the node's routers."""

    @property
    def entry(self) -> Entry:
        """What it contributes to its super-step."""
        return Entry(self.key, self.node, self.result)


class ApplyWritesRequest(CodeRequest):
    """The writes of one super-step."""

    authors: tuple[AuthorWrites, ...] | None = None
    """In order. `None` if they are too large: the activity queries the run for what the checkpoint's tasks wrote."""
    channels: tuple[str, ...]
    """The channels with a custom fold whose writes are folded together."""


class ApplyWritesResult(Message):
    """What the graph's code told. An error is data: the writes stay, and can be applied again after a mend."""

    results: dict[str, TaskResult] = {}
    """By key: the results of the authors that were completed, or whose routers were asked."""
    changes: dict[str, Change] = {}
    """By channel."""
    stamps: dict[str, str] = {}
    """The stamps of the folded channels, where the code differs from the run's spec."""
    error: dict[str, Any] | None = None
    """The error in its wire form."""

    def to_applied(self) -> Applied:
        """Return what the graph's code told; raise the error if there is one."""
        if self.error is not None:
            raise from_wire(self.error, as_own_type=False)
        return Applied(changes=self.changes, results=self.results, stamps=self.stamps)


class PendingWrites(Message):
    """The answer to the query `GET_WRITES`."""

    authors: tuple[AuthorWrites, ...]
