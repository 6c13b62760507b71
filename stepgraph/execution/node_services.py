"""What the process around a graph's functions provides to them: a store, a stream.

The activities and the in-memory runner pass it in with the graph's code (`stepgraph.execution.run_code`), because code
of a graph must know neither Temporal nor settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stepgraph.execution.stream_writer import StreamSink


def no_store() -> Any:
    """Return `None`: there is no store."""


@dataclass(frozen=True)
class NodeServices:
    """What a process provides to nodes and routers."""

    open_store: Callable[[], Any] = no_store
    """Returns the store of a graph that was compiled without one. Called when a node first asks for it."""
    stream: StreamSink | None = None
    """Takes what nodes write to their stream; `None` if nobody reads."""
    first_attempt_time: float | None = None
    """When the first attempt at the task started, in seconds since 1970."""


NO_SERVICES: Final = NodeServices()
"""Those of a process that provides nothing."""
