"""`CompiledGraph`: a graph ready to run, with LangGraph's methods.

Each method comes twice, blocking and async, and says the same to `GraphClient` through the process's session. The
session, and with it the Temporal SDK, is loaded at the first call: a graph can be drawn and tested without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stepgraph.code import GraphCode
from stepgraph.drawing import Drawing
from stepgraph.snapshot import StateSnapshot

if TYPE_CHECKING:
    from stepgraph.session import Session

Config = Mapping[str, Any]


class CompiledGraph:
    """A graph that runs on Temporal. `StateGraph.compile` makes it.

    ``config`` is LangGraph's: ``{"configurable": {"thread_id": "t1"}, "recursion_limit": 50}``. What else
    ``configurable`` has, and ``tags`` and ``metadata``, nodes find in their ``config``; it must be plain JSON.
    """

    def __init__(self, code: GraphCode) -> None:
        self.code = code

    @property
    def name(self) -> str:
        """The graph's name: the workflow type of its runs."""
        return self.code.name

    def __repr__(self) -> str:
        return f"<CompiledGraph {self.name!r} of {len(self.code.nodes)} nodes, spec {self.code.spec.hash}>"

    def get_graph(self) -> Drawing:
        """The graph's drawing: ``graph.get_graph().draw_mermaid()``."""
        return Drawing(self.code.spec)

    def invoke(self, input: Any, config: Config | None = None) -> dict[str, Any]:
        """Runs a thread to its end, and gives the values; with `None` as input, resumes it where it failed.

        Raises:
            NodeError: a node failed for good. It is also of the node's own exception type where that is loaded, so
                ``except ConnectionError`` works. What finished is kept.
            InvalidInputError: the input does not fit the state; names the key.
            EmptyInputError: nothing to resume.
            ThreadBusyError: the thread is running.
            NoServerError: no Temporal server can be reached or started.
        """
        return _session().call(self, lambda client: client.ainvoke(input, config))

    async def ainvoke(self, input: Any, config: Config | None = None) -> dict[str, Any]:
        """`invoke`, awaited."""
        return await _session().acall(self, lambda client: client.ainvoke(input, config))

    def get_state(self, config: Config) -> StateSnapshot:
        """The thread's head, or the checkpoint that the config names; an empty snapshot for an unknown thread.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            CheckpointExpiredError: retention has removed it.
        """
        return _session().call(self, lambda client: client.aget_state(config))

    async def aget_state(self, config: Config) -> StateSnapshot:
        """`get_state`, awaited."""
        return await _session().acall(self, lambda client: client.aget_state(config))

    def get_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """The thread's checkpoints, newest first, across its runs.

        Args:
            config: names the thread; with a checkpoint id, only that checkpoint is given.
            filter: metadata that a checkpoint must have, ``{"source": "loop"}`` say.
            before: a config with a checkpoint id: only what is older.
            limit: how many at the most.
        """
        return _session().stream(
            self, lambda client: client.aget_state_history(config, filter=filter, before=before, limit=limit)
        )

    def aget_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """`get_state_history`, for ``async for``."""
        return _session().astream(
            self, lambda client: client.aget_state_history(config, filter=filter, before=before, limit=limit)
        )


def _session() -> Session:
    from stepgraph.session import current

    return current()
