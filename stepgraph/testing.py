"""`MemoryRunner`: a graph in this process's memory, without Temporal, on the same engine and with the same checkpoints.

For tests of graphs, and the oracle of stepgraph's own. Nothing is durable here; nodes run once, without retries.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from stepgraph.compiled import CompiledGraph
from stepgraph.constants import START
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import failure_from, node_error
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import CheckpointNotFoundError, EmptyInputError, ThreadBusyError, ThreadError, from_wire
from stepgraph.nodes import TaskRequest, run_task
from stepgraph.run_config import RunConfig, parse_config
from stepgraph.snapshot import StateSnapshot, config_for, empty, matches, snapshot_from, view

Config = Mapping[str, Any]


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
        self._runs: dict[str, list[Thread]] = {}
        self._busy: set[str] = set()

    def invoke(self, input: Any, config: Config | None = None) -> dict[str, Any]:
        """`CompiledGraph.invoke`, in memory."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.ainvoke(input, config))
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as elsewhere:  # the caller is on an event loop
            return elsewhere.submit(context.run, asyncio.run, self.ainvoke(input, config)).result()

    async def ainvoke(self, input: Any, config: Config | None = None) -> dict[str, Any]:
        """`CompiledGraph.ainvoke`, in memory."""
        code, wanted = self.graph.code, parse_config(config)
        if wanted.checkpoint_id is not None:
            raise ThreadError(
                f"A run goes on from the head of thread {wanted.thread_id!r}; leave 'checkpoint_id' out of the config.",
                thread_id=wanted.thread_id,
            )
        if wanted.thread_id in self._busy:
            raise ThreadBusyError(f"Thread {wanted.thread_id!r} is running.", thread_id=wanted.thread_id)
        given = None if input is None else code.schema.encode_input(code.name, input)
        record = self._record(wanted.thread_id)
        if given is None and record is None:
            raise EmptyInputError(f"Thread {wanted.thread_id!r} has nothing to resume.", thread_id=wanted.thread_id)
        thread = thread_from(
            record,
            code.spec,
            code.schema.channels,
            thread_id=wanted.thread_id,
            run_id=f"run-{len(self._runs.get(wanted.thread_id, [])) + 1:04d}",
            clock=self._clock,
        )
        self._runs.setdefault(wanted.thread_id, []).append(thread)
        if given is not None:
            thread.accept(given)
        thread.allow(wanted.recursion_limit)
        self._busy.add(wanted.thread_id)
        try:
            while tasks := thread.due():
                await asyncio.gather(*(self._perform(thread, task, wanted) for task in tasks))
                if thread.failures:
                    raise from_wire(node_error(thread).to_wire())
                thread.commit()
        finally:
            self._busy.discard(wanted.thread_id)
        return code.schema.channels.decode(thread.state)

    def get_state(self, config: Config) -> StateSnapshot:
        """`CompiledGraph.get_state`, in memory."""
        wanted = parse_config(config)
        channels = self.graph.code.schema.channels
        for thread in reversed(self._runs.get(wanted.thread_id, [])):
            if wanted.checkpoint_id is None and thread.head is not None:
                return snapshot_from(view(thread, thread.head, as_head=True), channels)
            for checkpoint in thread.newest_first():
                if checkpoint.id == wanted.checkpoint_id:
                    return snapshot_from(view(thread, checkpoint), channels)
        if wanted.checkpoint_id is not None:
            raise CheckpointNotFoundError(
                f"Thread {wanted.thread_id!r} has no checkpoint {wanted.checkpoint_id!r}.",
                thread_id=wanted.thread_id,
                checkpoint_id=wanted.checkpoint_id,
            )
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
        if limit is not None and limit < 0:
            raise ThreadError(f"limit must be 0 or more; got {limit}.", thread_id=wanted.thread_id)
        shown = self._newest_first(wanted.thread_id)
        if before is not None:
            last = parse_config({"configurable": {"thread_id": wanted.thread_id, **before.get("configurable", {})}})
            if last.checkpoint_id is None:
                raise ThreadError("'before' must name a checkpoint: a snapshot's config.", thread_id=wanted.thread_id)
            newest = self.get_state(config_for(wanted.thread_id, last.checkpoint_id)).config
            shown = shown[[data["config"] for data in shown].index(newest) + 1 :]
        for data in [data for data in shown if matches(data, filter)][:limit]:
            yield snapshot_from(data, self.graph.code.schema.channels)

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
        for thread in reversed(self._runs.get(thread_id, [])):
            for checkpoint in thread.newest_first():
                shown.setdefault(checkpoint.id, view(thread, checkpoint))
        return list(shown.values())

    def _record(self, thread_id: str) -> Record | None:
        runs = self._runs.get(thread_id, [])
        return record_of(runs[-1]) if runs else None

    async def _perform(self, thread: Thread, task: Task, config: RunConfig) -> None:
        assert thread.head is not None
        request = TaskRequest(
            graph=thread.spec.name,
            node=task.node,
            step=task.step,
            thread_id=thread.thread_id,
            run_id=thread.run_id,
            checkpoint_id=task.checkpoint_id,
            task_id=task.id,
            spec_hash=thread.spec.hash,
            input=dict(thread.head.input or {}) if task.node == START else None,
            routers=tuple(branch.name for branch in thread.spec.branches_of(task.node)),
            config=config.passed_on,
        )
        thread.start(task)
        try:
            result = await run_task(self.graph.code, request, thread.state, run_sync=asyncio.to_thread)
        except (Exception, SystemExit) as error:  # a node must not end its worker
            thread.fail(task, failure_from(error, attempts=1))
        else:
            thread.finish(task, result)
