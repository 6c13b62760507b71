"""`CompiledGraph`: a graph ready to run, with LangGraph's methods.

Each method comes twice, blocking and async, and says the same to `GraphClient` through the process's session. The
session, and with it the Temporal SDK, is loaded at the first call: a graph can be drawn and tested without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stepgraph.execution.registry import GraphRegistry
from stepgraph.graph._drawing import Drawing
from stepgraph.protocol.commands import OnBusy
from stepgraph.protocol.config import Breaks, Config
from stepgraph.protocol.snapshot import StateSnapshot

if TYPE_CHECKING:
    from stepgraph.hosting.session import Session

Supersteps = Sequence[Sequence[tuple[Any, str | None]]]


class CompiledGraph:
    """A graph that runs on Temporal. `StateGraph.compile` makes it.

    ``config`` is LangGraph's: ``{"configurable": {"thread_id": "t1"}, "recursion_limit": 50}``. What else
    ``configurable`` has, and ``tags`` and ``metadata``, nodes find in their ``config``; it must be plain JSON.
    """

    def __init__(self, registry: GraphRegistry) -> None:
        self.registry = registry

    @property
    def name(self) -> str:
        """The graph's name: the workflow type of its runs."""
        return self.registry.name

    def __repr__(self) -> str:
        return f"<CompiledGraph {self.name!r} of {len(self.registry.nodes)} nodes, spec {self.registry.spec.hash}>"

    def get_graph(self) -> Drawing:
        """The graph's drawing: ``graph.get_graph().draw_mermaid()``."""
        return Drawing(self.registry.spec)

    def invoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
        on_busy: OnBusy = "refuse",
    ) -> dict[str, Any]:
        """Runs a thread until it stands still, and gives the values; what it asks people is under ``__interrupt__``.

        Args:
            input: the state's keys to set; `None` resumes a thread where it failed or is paused; a `Command` answers
                its interrupts.
            config: names the thread; with a checkpoint id, what came after that checkpoint is run again.
            interrupt_before: nodes to stop before, ``"*"`` for all, in place of those named at ``compile``.
            interrupt_after: nodes to stop after, likewise.
            on_busy: what to do when the thread is running: ``refuse`` with a `ThreadBusyError`; ``enqueue``, to begin
                once it stands still and those in line before have had their turn; or ``cancel``, to have its nodes
                stopped, keep what has finished, and be the next. The line is Temporal's: it outlives this process.

        Raises:
            NodeError: a node failed for good. It is also of the node's own exception type where that is loaded, so
                ``except ConnectionError`` works. What finished is kept.
            InvalidInputError: the input does not fit the state; names the key.
            EmptyInputError: nothing to resume.
            ThreadBusyError: the thread is running, or too many wait in line.
            RunEndedError: the thread was terminated or cancelled, and whoever waited in line with it.
            NoServerError: no Temporal server can be reached or started.
        """
        options: dict[str, Any] = {
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "on_busy": on_busy,
        }
        return _session().call(self.registry, lambda client: client.ainvoke(input, config, **options))

    async def ainvoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
        on_busy: OnBusy = "refuse",
    ) -> dict[str, Any]:
        """`invoke`, awaited."""
        options: dict[str, Any] = {
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "on_busy": on_busy,
        }
        return await _session().acall(self.registry, lambda client: client.ainvoke(input, config, **options))

    def update_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """Writes values by hand, and gives the config of the checkpoint this makes: the new head. Nothing runs.

        The values go through the reducers. While the thread runs, the update takes effect at the next super-step's end.

        Args:
            config: names the thread; with a checkpoint id, the update grows from that checkpoint.
            values: the state's keys to set; `None` for none.
            as_node: in whose name; what this node's edges and routers lead to runs next. By default the last writer's;
                at an input that has not been taken, the values are added to it. A virtual author (``"human"``) leaves
                what runs next as it is, `END` clears it. A node that is still to run gets the values as its result.

        Raises:
            InvalidUpdateError: the values do not fit, there is no such node, or several nodes wrote last.
            CheckpointNotFoundError: the thread has no such checkpoint.
        """
        return _session().call(self.registry, lambda client: client.aupdate_state(config, values, as_node))

    async def aupdate_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """`update_state`, awaited."""
        return await _session().acall(self.registry, lambda client: client.aupdate_state(config, values, as_node))

    def bulk_update_state(self, config: Config, supersteps: Supersteps) -> dict[str, Any]:
        """Several updates at once, all or none: each super-step is a list of ``(values, as_node)`` made together."""
        return _session().call(self.registry, lambda client: client.abulk_update_state(config, supersteps))

    async def abulk_update_state(self, config: Config, supersteps: Supersteps) -> dict[str, Any]:
        """`bulk_update_state`, awaited."""
        return await _session().acall(self.registry, lambda client: client.abulk_update_state(config, supersteps))

    def fork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any]:
        """An update at a checkpoint that then runs on; gives the values at the end. Without values, runs it again.

        Args:
            config: names the thread and the checkpoint; the head by default.
            values: the state's keys to set.
            as_node: as in `update_state`.
            thread_id: of a new thread for the fork to grow on; the source is not touched then.

        Raises:
            ThreadError: there is such a thread already, or nothing to fork.
            NodeError: as `invoke`, and the rest of what `update_state` and it raise.
        """
        return _session().call(self.registry, lambda client: client.afork(config, values, as_node, thread_id))

    async def afork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any]:
        """`fork`, awaited."""
        return await _session().acall(self.registry, lambda client: client.afork(config, values, as_node, thread_id))

    def get_state(self, config: Config) -> StateSnapshot:
        """The thread's head, or the checkpoint that the config names; an empty snapshot for an unknown thread.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            CheckpointExpiredError: retention has removed it.
        """
        return _session().call(self.registry, lambda client: client.aget_state(config))

    async def aget_state(self, config: Config) -> StateSnapshot:
        """`get_state`, awaited."""
        return await _session().acall(self.registry, lambda client: client.aget_state(config))

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
            self.registry, lambda client: client.aget_state_history(config, filter=filter, before=before, limit=limit)
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
            self.registry, lambda client: client.aget_state_history(config, filter=filter, before=before, limit=limit)
        )


def _session() -> Session:
    from stepgraph.hosting.session import current

    return current()
