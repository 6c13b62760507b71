"""`MemoryRunner`: a graph in this process's memory, without Temporal, on the same engine and with the same checkpoints.

For tests of graphs, and the oracle of stepgraph's own. Nothing is durable here; nodes run once, without retries, and
a question's deadline passes without an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.graph.compiled import CompiledGraph, Supersteps
from stepgraph.protocol.commands import CommandKind, ThreadCommand
from stepgraph.protocol.config import Breaks, Config, RunConfig, parse_config, parse_thread_id
from stepgraph.protocol.interrupts import Command, Interrupt
from stepgraph.protocol.method_arguments import (
    bulk_update_command,
    check_limit,
    checkpoint_before,
    invoke_command,
    resume_command,
    update_command,
)
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.snapshot import StateSnapshot, config_for, empty, matches, snapshot_from, view
from stepgraph.protocol.thread_errors import (
    no_such_checkpoint,
    no_such_thread,
    nothing_to_fork,
    nothing_to_resume,
    thread_busy,
    thread_exists,
)
from stepgraph.testing.blocking import wait
from stepgraph.testing.memory_run import MemoryRun


class MemoryRunner:
    """Runs threads of a graph in memory; the methods are those of the graph itself.

    Args:
        graph: a compiled graph.
        clock: gives the time of a checkpoint, ISO 8601; a fixed one makes runs comparable.

    Example:
        >>> runner = MemoryRunner(graph)  # doctest: +SKIP
        >>> runner.invoke({"query": "x"}, {"configurable": {"thread_id": "t1"}})  # doctest: +SKIP
    """

    def __init__(self, graph: CompiledGraph, *, clock: Callable[[], str] | None = None) -> None:
        self.graph = graph
        self._clock = clock or (lambda: datetime.now(UTC).isoformat())
        self._runs: dict[str, list[MemoryRun]] = {}

    def invoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
    ) -> dict[str, Any]:
        """`CompiledGraph.invoke`, in memory."""
        return wait(self.ainvoke(input, config, interrupt_before=interrupt_before, interrupt_after=interrupt_after))

    async def ainvoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
    ) -> dict[str, Any]:
        """`CompiledGraph.ainvoke`, in memory."""
        wanted = parse_config(config)
        latest = self._latest(wanted.thread_id)
        if isinstance(input, Command):
            if latest is None:
                raise no_such_thread(wanted.thread_id, "so nothing waits for an answer.")
            return await self._run_on(wanted, "resume", resume_command(input, interrupt_before, interrupt_after))
        given = self._encoded(input)
        if latest is not None and latest.busy:
            raise thread_busy(wanted.thread_id, latest.thread.run_id)
        if wanted.checkpoint_id is not None and latest is None:
            raise no_such_thread(wanted.thread_id, "so there is nothing to run again.")
        if given is None and latest is None:
            raise no_such_thread(wanted.thread_id, "so there is nothing to resume. Start it with an input.")
        if given is None and latest is not None and latest.thread.head is None:  # an update of it was refused
            raise nothing_to_resume(wanted.thread_id)
        to_resume = given is None and wanted.checkpoint_id is None
        if to_resume and latest is not None and not latest.open and latest.thread.finished:
            return self._result(latest.thread)
        return await self._run_on(wanted, "invoke", invoke_command(wanted, given, interrupt_before, interrupt_after))

    def update_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """`CompiledGraph.update_state`, in memory."""
        return wait(self.aupdate_state(config, values, as_node))

    async def aupdate_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """`CompiledGraph.aupdate_state`, in memory."""
        wanted = parse_config(config)
        command = update_command(wanted, values, as_node, self._encoded)
        return (await self._command(wanted, "update", command))[1]

    def bulk_update_state(self, config: Config, supersteps: Supersteps) -> dict[str, Any]:
        """`CompiledGraph.bulk_update_state`, in memory."""
        return wait(self.abulk_update_state(config, supersteps))

    async def abulk_update_state(self, config: Config, supersteps: Supersteps) -> dict[str, Any]:
        """`CompiledGraph.abulk_update_state`, in memory."""
        wanted = parse_config(config)
        return (await self._command(wanted, "update", bulk_update_command(wanted, supersteps, self._encoded)))[1]

    def fork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any]:
        """`CompiledGraph.fork`, in memory."""
        return wait(self.afork(config, values, as_node, thread_id))

    async def afork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any]:
        """`CompiledGraph.afork`, in memory."""
        wanted = parse_config(config)
        source = self._latest(wanted.thread_id)
        command = update_command(wanted, values, as_node, self._encoded)
        if thread_id is not None:
            grown = parse_thread_id(thread_id)
            head = source.thread.head if source is not None else None
            checkpoint_id = wanted.checkpoint_id or (head.id if head is not None else None)
            if checkpoint_id is None:
                raise nothing_to_fork(wanted.thread_id)
            if self._latest(grown) is not None:
                raise thread_exists(grown)
            command = command.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": wanted.thread_id})
            wanted = RunConfig(grown, None, wanted.recursion_limit, wanted.passed_on)
        elif source is None:
            raise no_such_thread(wanted.thread_id, "so there is nothing to run again.")
        return await self._run_on(wanted, "fork", command)

    def get_state(self, config: Config) -> StateSnapshot:
        """`CompiledGraph.get_state`, in memory."""
        wanted = parse_config(config)
        channels = self.graph.registry.schema.channels
        for run in reversed(self._runs.get(wanted.thread_id, [])):
            thread = run.thread
            if wanted.checkpoint_id is None and thread.head is not None:
                return snapshot_from(view(thread, thread.head, as_head=True), channels)
            for checkpoint in thread.newest_first():
                if checkpoint.id == wanted.checkpoint_id:
                    return snapshot_from(view(thread, checkpoint), channels)
        if wanted.checkpoint_id is not None:
            raise no_such_checkpoint(wanted.thread_id, wanted.checkpoint_id)
        return empty(wanted.thread_id)

    async def aget_state(self, config: Config) -> StateSnapshot:
        """`CompiledGraph.aget_state`, in memory."""
        return self.get_state(config)

    def get_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """`CompiledGraph.get_state_history`, in memory."""
        wanted = parse_config(config)
        if wanted.checkpoint_id is not None:
            yield self.get_state(config)
            return
        check_limit(limit, wanted)
        shown = self._newest_first(wanted.thread_id)
        if (last := checkpoint_before(before, wanted)) is not None:
            newest = self.get_state(config_for(wanted.thread_id, last)).config
            shown = shown[[data["config"] for data in shown].index(newest) + 1 :]
        for data in [data for data in shown if matches(data, filter)][:limit]:
            yield snapshot_from(data, self.graph.registry.schema.channels)

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """`CompiledGraph.aget_state_history`, in memory."""
        for snapshot in self.get_state_history(config, filter=filter, before=before, limit=limit):
            yield snapshot

    def _newest_first(self, thread_id: str) -> list[dict[str, Any]]:
        """All checkpoints of a thread; that which a run took over is shown as this run has it."""
        shown: dict[str, dict[str, Any]] = {}
        for run in reversed(self._runs.get(thread_id, [])):
            for checkpoint in run.thread.newest_first():
                shown.setdefault(checkpoint.id, view(run.thread, checkpoint))
        return list(shown.values())

    def _latest(self, thread_id: str) -> MemoryRun | None:
        runs = self._runs.get(thread_id)
        return runs[-1] if runs else None

    def _next_run(self, wanted: RunConfig) -> MemoryRun:
        """A run that goes on from what the thread's last one left."""
        registry, runs = self.graph.registry, self._runs.setdefault(wanted.thread_id, [])
        thread = thread_from(
            record_of(runs[-1].thread) if runs else None,
            registry.spec,
            registry.schema.channels,
            thread_id=wanted.thread_id,
            run_id=f"run-{sum(map(len, self._runs.values())) + 1:04d}",
            clock=self._clock,
        )
        thread.limit_steps(wanted.recursion_limit)
        runs.append(MemoryRun(registry, thread, wanted.passed_on, read=self._read))
        return runs[-1]

    async def _run_on(self, wanted: RunConfig, kind: CommandKind, command: ThreadCommand) -> dict[str, Any]:
        run, _ = await self._command(wanted, kind, command)
        return self._result(run.thread)

    async def _command(
        self, wanted: RunConfig, kind: CommandKind, command: ThreadCommand
    ) -> tuple[MemoryRun, dict[str, Any]]:
        """Has an order carried out: by the run that is open, or by the thread's next one; which then runs on.

        The run comes back with the config of the checkpoint that the order made.
        """
        run = self._latest(wanted.thread_id)
        if run is None or not (run.open or run.busy):
            run = self._next_run(wanted)
        return run, await run.command(kind, command)

    async def _read(self, asked: ReadRequest) -> Record:
        for run in self._runs.get(asked.thread_id, []):  # the one that made it comes before those that took it over
            for checkpoint in run.thread.newest_first():
                if checkpoint.id == asked.checkpoint_id and (record := record_of(run.thread, checkpoint)):
                    return record
        raise no_such_checkpoint(asked.thread_id, asked.checkpoint_id)

    def _result(self, thread: Thread) -> dict[str, Any]:
        """The values; what the thread asks people is under ``__interrupt__``."""
        values = self.graph.registry.schema.channels.decode(thread.values_with_pending_writes)
        asked = [Interrupt(ask.value, ask.id, ask.deadline) for ask in thread.waiting_interrupts]
        return {**values, "__interrupt__": asked} if asked else values

    def _encoded(self, values: Any) -> dict[str, Any] | None:
        return None if values is None else self.graph.registry.schema.encode_input(self.graph.name, values)
