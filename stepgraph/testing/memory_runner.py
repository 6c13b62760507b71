"""`MemoryRunner`: runs a graph in memory, on the same engine and with the same checkpoints as on Temporal.

Owns the threads and their runs, for tests of graphs and as the reference for stepgraph's own tests. Nothing is durable.
A node's timeout in seconds has no effect, nor has the deadline of an interrupt; a `TimeoutPolicy` holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Unpack

from stepgraph.drive.apply_command import check_command_on_closed
from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.spec import Durability
from stepgraph.engine.thread import Thread
from stepgraph.execution.sent_input import encode_send
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.commands import CommandKind, ThreadCommand
from stepgraph.protocol.config import Breaks, Config, RunConfig, RunnableConfig, parse_config, parse_thread_id
from stepgraph.protocol.interrupts import Command, Interrupt
from stepgraph.protocol.invoke_result import OutputKeys, check_output_keys, invoke_result
from stepgraph.protocol.langgraph_objects import from_langgraph
from stepgraph.protocol.method_arguments import (
    bulk_update_command,
    check_filter,
    check_limit,
    check_supported,
    checkpoint_before,
    invoke_command,
    resume_command,
    update_command,
)
from stepgraph.protocol.method_keywords import HistoryKeywords, RunKeywords, Supersteps
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.send import Send
from stepgraph.protocol.snapshot import (
    StateSnapshot,
    config_for,
    empty_snapshot,
    matches_filter,
    snapshot_data,
    snapshot_from,
)
from stepgraph.protocol.thread_errors import (
    NOTHING_TO_REPLAY,
    NOTHING_TO_RESUME,
    NOTHING_WAITS,
    no_such_checkpoint,
    no_such_thread,
    nothing_to_fork,
    nothing_to_resume,
    thread_busy,
    thread_exists,
)
from stepgraph.testing.blocking import run_blocking
from stepgraph.testing.memory_run import MemoryRun


class MemoryRunner:
    """Runs threads of a graph in memory, with the methods of `CompiledGraph`.

    The input queue is missing: there is no ``on_busy``, and a running thread refuses an input.

    Args:
        graph: a compiled graph.
        clock: returns the time of a new checkpoint as ISO 8601; a fixed clock makes runs comparable.

    Examples:
        >>> runner = MemoryRunner(graph)  # doctest: +SKIP
        >>> runner.invoke({"query": "x"}, {"configurable": {"thread_id": "t1"}})  # doctest: +SKIP
    """

    def __init__(self, graph: CompiledGraph, *, clock: Callable[[], str] | None = None) -> None:
        self.graph = graph
        self._clock = clock or (lambda: datetime.now(UTC).isoformat())
        self._types = graph.registry.schema.channels.types_hash
        self._runs: dict[str, list[MemoryRun]] = {}

    def invoke(self, input: Any, config: Config | None = None, **options: Unpack[RunKeywords]) -> dict[str, Any] | Any:
        """Run a thread in memory until it is idle, and return its values. See `CompiledGraph.invoke`."""
        return run_blocking(self.ainvoke(input, config, **options))

    async def ainvoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        context: Any = None,
        stream_mode: str = "values",
        print_mode: Any = (),
        output_keys: OutputKeys = None,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
        durability: Durability | None = None,
        control: None = None,
        version: str = "v1",
        debug: bool | None = None,
    ) -> dict[str, Any] | Any:
        """Awaitable version of `invoke`."""
        check_supported(stream_mode=stream_mode, control=control, version=version)
        schema = self.graph.registry.schema
        output_keys = check_output_keys(output_keys, schema.channels.names)
        input = from_langgraph(input)
        config = self.graph.merged_config(config)
        run_config = parse_config(config, new_thread=input is not None and not isinstance(input, Command))
        run_config = run_config.with_context(schema.context.encode(self.graph.name, context))
        breaks = interrupt_before, interrupt_after
        thread_id = run_config.thread_id
        latest = self._latest(thread_id)
        if isinstance(input, Command):
            if latest is None:
                raise no_such_thread(thread_id, NOTHING_WAITS)
            encoders = self._encode_update, self._encode_send
            resume = resume_command(run_config, input, *breaks, *encoders, types=self._types, durability=durability)
            return await self._run(run_config, "resume", resume, output_keys)
        input_data = self._encode(input)
        joins = input_data is None and run_config.checkpoint_id is None
        if latest is not None and latest.busy:
            if not joins:
                raise thread_busy(thread_id, latest.thread.run_id)
            await latest.end()
            return self._result(latest.thread, output_keys)
        if run_config.checkpoint_id is not None and latest is None:
            raise no_such_thread(thread_id, NOTHING_TO_REPLAY)
        if input_data is None and latest is None:
            raise no_such_thread(thread_id, NOTHING_TO_RESUME)
        if input_data is None and latest is not None and latest.thread.head is None:  # its first command was refused
            raise nothing_to_resume(thread_id)
        if joins and latest is not None and not latest.open and latest.thread.finished:
            return self._result(latest.thread, output_keys)
        command = invoke_command(run_config, input_data, *breaks, durability=durability)
        command = command.model_copy(update={"types": self._types})
        return await self._run(run_config, "invoke", command, output_keys)

    def update_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> RunnableConfig:
        """Write values to the state of a thread in memory. See `CompiledGraph.update_state`."""
        return run_blocking(self.aupdate_state(config, values, as_node, task_id))

    async def aupdate_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> RunnableConfig:
        """Awaitable version of `update_state`."""
        run_config = parse_config(self.graph.merged_config(config))
        command = update_command(run_config, values, as_node, self._encode_update, types=self._types, task_id=task_id)
        return (await self._send(run_config, "update", command))[1]

    def bulk_update_state(self, config: Config, supersteps: Supersteps) -> RunnableConfig:
        """Apply several updates to a thread in memory, all or none. See `CompiledGraph.bulk_update_state`."""
        return run_blocking(self.abulk_update_state(config, supersteps))

    async def abulk_update_state(self, config: Config, supersteps: Supersteps) -> RunnableConfig:
        """Awaitable version of `bulk_update_state`."""
        run_config = parse_config(self.graph.merged_config(config))
        command = bulk_update_command(run_config, supersteps, self._encode_update, types=self._types)
        return (await self._send(run_config, "update", command))[1]

    def fork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any] | Any:
        """Fork a thread in memory, and return the values once it is idle. See `CompiledGraph.fork`."""
        return run_blocking(self.afork(config, values, as_node, thread_id))

    async def afork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any] | Any:
        """Awaitable version of `fork`."""
        run_config = parse_config(self.graph.merged_config(config))
        source_id = run_config.thread_id
        source = self._latest(source_id)
        command = update_command(run_config, values, as_node, self._encode_update, types=self._types)
        if thread_id is not None:
            target_id = parse_thread_id(thread_id)
            head = source.thread.head if source is not None else None
            checkpoint_id = run_config.checkpoint_id or (head.id if head is not None else None)
            if checkpoint_id is None:
                raise nothing_to_fork(source_id)
            if self._latest(target_id) is not None:
                raise thread_exists(target_id)
            command = command.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": source_id})
            for run in self._runs.get(source_id, []):
                if run.thread.find(checkpoint_id) is not None:  # a command that is refused here makes no thread
                    check_command_on_closed(run.thread, self.graph.registry.spec, "fork", command)
            run_config = replace(run_config, thread_id=target_id, checkpoint_id=None)
        elif source is None:
            raise no_such_thread(source_id, NOTHING_TO_REPLAY)
        return await self._run(run_config, "fork", command)

    def get_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Return a snapshot of a thread in memory. See `CompiledGraph.get_state`."""
        run_config = parse_config(self.graph.merged_config(config))
        thread_id, checkpoint_id = run_config.thread_id, run_config.checkpoint_id
        schema = self.graph.registry.schema
        for run in reversed(self._runs.get(thread_id, [])):
            thread = run.thread
            if checkpoint_id is None and thread.head is not None:
                errors = [run.failure] if run.failure is not None else []
                return snapshot_from({**snapshot_data(thread, thread.head, as_head=True), "errors": errors}, schema)
            for checkpoint in thread.newest_first():
                if checkpoint.id == checkpoint_id:
                    return snapshot_from(snapshot_data(thread, checkpoint), schema)
        if checkpoint_id is not None:
            raise no_such_checkpoint(thread_id, checkpoint_id)
        return empty_snapshot(thread_id)

    async def aget_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Awaitable version of `get_state`."""
        return self.get_state(config, subgraphs=subgraphs)

    def get_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield the checkpoints of a thread in memory, newest first. See `CompiledGraph.get_state_history`."""
        run_config = parse_config(self.graph.merged_config(config))
        if run_config.checkpoint_id is not None:
            yield self.get_state(config)
            return
        check_limit(limit, run_config)
        filter = check_filter(filter, run_config)
        snapshots = self._newest_first(run_config.thread_id)
        if (before_id := checkpoint_before(before, run_config)) is not None:
            before_config = self.get_state(config_for(run_config.thread_id, before_id)).config
            snapshots = snapshots[[data["config"] for data in snapshots].index(before_config) + 1 :]
        for data in [data for data in snapshots if matches_filter(data, filter)][:limit]:
            yield snapshot_from(data, self.graph.registry.schema)

    async def aget_state_history(
        self, config: Config, **options: Unpack[HistoryKeywords]
    ) -> AsyncIterator[StateSnapshot]:
        """Asynchronous iterator version of `get_state_history`."""
        for snapshot in self.get_state_history(config, **options):
            yield snapshot

    def _newest_first(self, thread_id: str) -> list[dict[str, Any]]:
        """Return all checkpoints of a thread as JSON data, newest first.

        A run's last checkpoint is also the first of the next run, which knows what became of its tasks. Its snapshot is
        therefore taken from the later run.
        """
        snapshots: dict[str, dict[str, Any]] = {}
        for run in reversed(self._runs.get(thread_id, [])):
            for checkpoint in run.thread.newest_first():
                snapshots.setdefault(checkpoint.id, snapshot_data(run.thread, checkpoint))
        return list(snapshots.values())

    def _latest(self, thread_id: str) -> MemoryRun | None:
        runs = self._runs.get(thread_id)
        return runs[-1] if runs else None

    def _next_run(self, run_config: RunConfig) -> MemoryRun:
        """Add a run that restores the thread from its last run."""
        registry, runs = self.graph.registry, self._runs.setdefault(run_config.thread_id, [])
        thread = thread_from(
            record_of(runs[-1].thread) if runs else None,
            registry.spec,
            thread_id=run_config.thread_id,
            run_id=f"run-{sum(map(len, self._runs.values())) + 1:04d}",
            clock=self._clock,
        )
        thread.limit_steps(run_config.recursion_limit)
        runs.append(MemoryRun(registry, thread, run_config.node_config, read=self._read))
        return runs[-1]

    async def _run(
        self, run_config: RunConfig, kind: CommandKind, command: ThreadCommand, output_keys: OutputKeys = None
    ) -> dict[str, Any] | Any:
        """Send a command that runs nodes, and return the values once the thread is idle."""
        run, _ = await self._send(run_config, kind, command)
        return self._result(run.thread, output_keys)

    async def _send(
        self, run_config: RunConfig, kind: CommandKind, command: ThreadCommand
    ) -> tuple[MemoryRun, RunnableConfig]:
        """Have a command applied by the thread's open run, or by a new run if none is open.

        Returns:
            The run, and the config of the checkpoint that the command made.
        """
        run = self._latest(run_config.thread_id)
        if run is None or not (run.open or run.busy):
            run = self._next_run(run_config)
        return run, await run.command(kind, command)

    async def _read(self, request: ReadRequest) -> Record:
        """Return the record of a checkpoint, from the run that made it: the first that has it."""
        for run in self._runs.get(request.thread_id, []):
            for checkpoint in run.thread.newest_first():
                if checkpoint.id == request.checkpoint_id and (record := record_of(run.thread, checkpoint)):
                    return record
        raise no_such_checkpoint(request.thread_id, request.checkpoint_id)

    def _result(self, thread: Thread, output_keys: OutputKeys = None) -> Any:
        """Return the result of `invoke`: the output, and under ``__interrupt__`` the interrupts that wait."""
        schema = self.graph.registry.schema
        values = schema.channels.decode(thread.values_with_pending_writes)
        interrupts = [Interrupt(request.value, request.id, request.deadline) for request in thread.waiting_interrupts]
        return invoke_result(values, schema.output_names, output_keys, interrupts)

    def _encode(self, values: Any) -> dict[str, Any] | None:
        """Encode a caller's input as JSON data that fits the state."""
        return None if values is None else self.graph.registry.schema.encode_input(self.graph.name, values)

    def _encode_send(self, send: Send) -> SentTask:
        return encode_send(self.graph.registry.schema, "The Command", send)

    def _encode_update(self, values: Any) -> dict[str, Any] | None:
        """Encode the values of an update, which may set any channel."""
        return None if values is None else self.graph.registry.schema.encode_update(self.graph.name, values)
