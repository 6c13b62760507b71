"""`MemoryRunner`: a graph in this process's memory, without Temporal, on the same engine and with the same checkpoints.

For tests of graphs, and the oracle of stepgraph's own. Nothing is durable here; nodes run once, without retries, and
a question's deadline passes without an answer.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from stepgraph.codec import RoundTripError, as_json
from stepgraph.compiled import Breaks, CompiledGraph, Supersteps
from stepgraph.constants import START
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import failure_from, node_error
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import (
    CheckpointNotFoundError,
    EmptyInputError,
    InvalidInputError,
    StepgraphError,
    ThreadBusyError,
    ThreadError,
    from_wire,
)
from stepgraph.interrupts import Command, Interrupt
from stepgraph.nodes import RouteRequest, TaskRequest, route_by_hand, run_task
from stepgraph.orders import AnyOrder, Kind, Outside, carry_out, check
from stepgraph.run_config import RunConfig, parse_config, parse_thread_id
from stepgraph.snapshot import StateSnapshot, config_for, empty, matches, snapshot_from, view
from stepgraph.wire import InvokeOrder, Order, ReadRequest, ResumeOrder, WrittenUpdate

T = TypeVar("T")
Config = Mapping[str, Any]


@dataclass
class _Run:
    """One run of a thread, as a Temporal workflow would have it."""

    thread: Thread
    config: dict[str, Any]
    """What nodes see of the caller's config."""
    open: bool = False
    """Whether it waits for people, and orders go to it; the thread's next run takes them otherwise."""
    busy: bool = False
    """Whether it is at work, and orders wait for the next boundary."""
    orders: deque[tuple[Kind, AnyOrder, Future[dict[str, Any]]]] = field(default_factory=deque)
    """What arrived while it is at work, with how each ended."""
    ended: Future[None] = field(default_factory=Future)
    """How the work of the moment ends."""


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
        self._runs: dict[str, list[_Run]] = {}

    def invoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
    ) -> dict[str, Any]:
        """`CompiledGraph.invoke`, in memory."""
        return _wait(self.ainvoke(input, config, interrupt_before=interrupt_before, interrupt_after=interrupt_after))

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
        breaks = _names(interrupt_before), _names(interrupt_after)
        latest = self._latest(wanted.thread_id)
        if isinstance(input, Command):
            if latest is None:
                raise _nothing(wanted, "so nothing waits for an answer.")
            answer = ResumeOrder(resume=_answer(input.resume), interrupt_before=breaks[0], interrupt_after=breaks[1])
            return await self._run_on(wanted, "resume", answer)
        given = self._encoded(input)
        if latest is not None and latest.busy:
            raise _busy(latest.thread)
        if wanted.checkpoint_id is not None and latest is None:
            raise _nothing(wanted, "so there is nothing to run again.")
        if given is None and latest is None:
            raise _nothing(wanted, "so there is nothing to resume. Start it with an input.")
        if given is None and latest is not None and latest.thread.head is None:  # an update of it was refused
            raise EmptyInputError(
                f"Thread {wanted.thread_id!r} has nothing to resume. Start it with an input.",
                thread_id=wanted.thread_id,
            )
        to_resume = given is None and wanted.checkpoint_id is None
        if to_resume and latest is not None and not latest.open and latest.thread.finished:
            return self._result(latest.thread)
        asked = InvokeOrder(
            input=given,
            checkpoint_id=wanted.checkpoint_id,
            recursion_limit=wanted.recursion_limit,
            config=wanted.passed_on,
            interrupt_before=breaks[0],
            interrupt_after=breaks[1],
        )
        return await self._run_on(wanted, "invoke", asked)

    def update_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """`CompiledGraph.update_state`, in memory."""
        return _wait(self.aupdate_state(config, values, as_node))

    async def aupdate_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """`CompiledGraph.aupdate_state`, in memory."""
        wanted = parse_config(config)
        order = Order(values=self._encoded(values), as_node=as_node, checkpoint_id=wanted.checkpoint_id)
        return (await self._order(wanted, "update", order))[1]

    def bulk_update_state(self, config: Config, supersteps: Supersteps) -> dict[str, Any]:
        """`CompiledGraph.bulk_update_state`, in memory."""
        return _wait(self.abulk_update_state(config, supersteps))

    async def abulk_update_state(self, config: Config, supersteps: Supersteps) -> dict[str, Any]:
        """`CompiledGraph.abulk_update_state`, in memory."""
        wanted = parse_config(config)
        made = tuple(
            tuple(WrittenUpdate(values=self._encoded(each[0]), as_node=each[1]) for each in superstep)
            for superstep in supersteps
        )
        if not made or not all(made):
            raise InvalidInputError("bulk_update_state needs at least one super-step, and an update in each.")
        order = Order(super_steps=made, checkpoint_id=wanted.checkpoint_id)
        return (await self._order(wanted, "update", order))[1]

    def fork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any]:
        """`CompiledGraph.fork`, in memory."""
        return _wait(self.afork(config, values, as_node, thread_id))

    async def afork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any]:
        """`CompiledGraph.afork`, in memory."""
        wanted = parse_config(config)
        source = self._latest(wanted.thread_id)
        order = Order(values=self._encoded(values), as_node=as_node, checkpoint_id=wanted.checkpoint_id)
        if thread_id is not None:
            grown = parse_thread_id(thread_id)
            head = source.thread.head if source is not None else None
            checkpoint_id = wanted.checkpoint_id or (head.id if head is not None else None)
            if checkpoint_id is None:
                raise EmptyInputError(
                    f"Thread {wanted.thread_id!r} has no checkpoint to fork.", thread_id=wanted.thread_id
                )
            if self._latest(grown) is not None:
                raise ThreadError(
                    f"There is a thread {grown!r} already; a fork grows on a new one. Choose another thread_id.",
                    thread_id=grown,
                )
            order = order.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": wanted.thread_id})
            wanted = RunConfig(grown, None, wanted.recursion_limit, wanted.passed_on)
        elif source is None:
            raise _nothing(wanted, "so there is nothing to run again.")
        return await self._run_on(wanted, "fork", order)

    def get_state(self, config: Config) -> StateSnapshot:
        """`CompiledGraph.get_state`, in memory."""
        wanted = parse_config(config)
        channels = self.graph.code.schema.channels
        for run in reversed(self._runs.get(wanted.thread_id, [])):
            thread = run.thread
            if wanted.checkpoint_id is None and thread.head is not None:
                return snapshot_from(view(thread, thread.head, as_head=True), channels)
            for checkpoint in thread.newest_first():
                if checkpoint.id == wanted.checkpoint_id:
                    return snapshot_from(view(thread, checkpoint), channels)
        if wanted.checkpoint_id is not None:
            raise _not_found(wanted.thread_id, wanted.checkpoint_id)
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
        for run in reversed(self._runs.get(thread_id, [])):
            for checkpoint in run.thread.newest_first():
                shown.setdefault(checkpoint.id, view(run.thread, checkpoint))
        return list(shown.values())

    def _latest(self, thread_id: str) -> _Run | None:
        runs = self._runs.get(thread_id)
        return runs[-1] if runs else None

    def _next_run(self, wanted: RunConfig) -> _Run:
        """A run that goes on from what the thread's last one left."""
        code, runs = self.graph.code, self._runs.setdefault(wanted.thread_id, [])
        thread = thread_from(
            record_of(runs[-1].thread) if runs else None,
            code.spec,
            code.schema.channels,
            thread_id=wanted.thread_id,
            run_id=f"run-{sum(map(len, self._runs.values())) + 1:04d}",
            clock=self._clock,
        )
        thread.allow(wanted.recursion_limit)
        runs.append(_Run(thread, wanted.passed_on))
        return runs[-1]

    async def _run_on(self, wanted: RunConfig, kind: Kind, order: AnyOrder) -> dict[str, Any]:
        run, _ = await self._order(wanted, kind, order)
        return self._result(run.thread)

    async def _order(
        self,
        wanted: RunConfig,
        kind: Kind,
        order: AnyOrder,
    ) -> tuple[_Run, dict[str, Any]]:
        """Has an order carried out: by the run that is open, or by the thread's next one; which then runs on.

        The run comes back with the config of the checkpoint that the order made.
        """
        run = self._latest(wanted.thread_id)
        if run is not None and (run.open or run.busy):
            check(run.thread, self.graph.code, kind, order)
        if run is not None and run.busy:
            done: Future[dict[str, Any]] = Future()
            run.orders.append((kind, order, done))
            made = await asyncio.wrap_future(done)
            if kind != "update":
                await asyncio.wrap_future(run.ended)
            return run, made
        if run is None or not run.open:
            run = self._next_run(wanted)
        run.busy, run.ended = True, Future()
        try:
            made = await self._carry_out(run, kind, order)
            run.open = False
            await self._work(run, running=kind != "update")
        except BaseException as error:
            while run.orders:
                late = ThreadBusyError("The run ended before the turn of this came. Ask again.")
                run.orders.popleft()[2].set_exception(late)
            run.ended.set_exception(error)
            run.ended.exception()  # whoever waits is told; if nobody does, that is no fault
            raise
        else:
            run.ended.set_result(None)
        finally:
            run.busy = False
        return run, made

    async def _work(self, run: _Run, *, running: bool) -> None:
        """Super-step after super-step, with the orders that arrived in between, until the thread stands still."""
        thread = run.thread
        while True:
            running = await self._orders_in_between(run) or running
            if running and (tasks := thread.due()):
                await asyncio.gather(*(self._perform(run, task) for task in tasks))
                if thread.failures:
                    await self._orders_in_between(run)  # one of them may mend it, or go on from elsewhere
                    if thread.failures:
                        raise from_wire(node_error(thread).to_wire())
                elif thread.complete:
                    thread.commit()
            elif running and thread.complete:
                thread.commit()
            elif not run.orders:
                run.open = bool(thread.questions or thread.paused)
                return

    async def _orders_in_between(self, run: _Run) -> bool:
        """Carries out what arrived; whether something of it is to be run."""
        to_run = False
        while run.orders:
            kind, order, done = run.orders.popleft()
            try:
                done.set_result(await self._carry_out(run, kind, order))
                to_run = to_run or kind != "update"
            except StepgraphError as error:
                done.set_exception(error)
        return to_run

    async def _carry_out(self, run: _Run, kind: Kind, order: AnyOrder) -> dict[str, Any]:
        """Carries out one order; the config of the thread's head then."""
        config = order.config if isinstance(order, InvokeOrder) else run.config
        outside = Outside(self._read, self._route)
        try:
            await carry_out(run.thread, self.graph.code, config, kind, order, outside=outside)
        except StepgraphError as error:
            raise from_wire(error.to_wire()) from error
        run.config = config
        return config_for(run.thread.thread_id, run.thread.head.id if run.thread.head else None)

    async def _read(self, asked: ReadRequest) -> Record:
        for run in self._runs.get(asked.thread_id, []):  # the one that made it comes before those that took it over
            for checkpoint in run.thread.newest_first():
                if checkpoint.id == asked.checkpoint_id and (record := record_of(run.thread, checkpoint)):
                    return record
        raise _not_found(asked.thread_id, asked.checkpoint_id)

    async def _route(self, request: RouteRequest) -> tuple[str, ...]:
        return await route_by_hand(self.graph.code, request, run_sync=asyncio.to_thread)

    async def _perform(self, run: _Run, task: Task) -> None:
        thread = run.thread
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
            answers=thread.answers(task),
            config=run.config,
        )
        thread.start(task)
        try:
            result = await run_task(self.graph.code, request, thread.state, run_sync=asyncio.to_thread)
        except (Exception, SystemExit) as error:  # a node must not end its worker
            thread.fail(task, failure_from(error, attempts=1))
        else:
            thread.finish(task, result)

    def _result(self, thread: Thread) -> dict[str, Any]:
        """The values; what the thread asks people is under ``__interrupt__``."""
        values = self.graph.code.schema.channels.decode(thread.state)
        asked = [Interrupt(ask.value, ask.id, ask.deadline) for ask in thread.questions]
        return {**values, "__interrupt__": asked} if asked else values

    def _encoded(self, values: Any) -> dict[str, Any] | None:
        return None if values is None else self.graph.code.schema.encode_input(self.graph.name, values)


def _wait(work: Coroutine[Any, Any, T]) -> T:
    """Waits for it, whether or not an event loop is running here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(context.run, asyncio.run, work).result()


def _names(breaks: Breaks) -> tuple[str, ...] | None:
    return (breaks,) if isinstance(breaks, str) else None if breaks is None else tuple(breaks)


def _answer(resume: Any) -> Any:
    try:
        return as_json(resume)
    except RoundTripError as error:
        raise InvalidInputError(f"An answer to an interrupt must be plain JSON data: {error}.") from error


def _busy(thread: Thread) -> ThreadBusyError:
    return ThreadBusyError(
        f"Thread {thread.thread_id!r} is running (run {thread.run_id}), and a thread has one writer. "
        "Wait for it to end, or use another thread id.",
        thread_id=thread.thread_id,
        run_id=thread.run_id,
    )


def _nothing(wanted: RunConfig, what: str) -> EmptyInputError:
    return EmptyInputError(f"Thread {wanted.thread_id!r} does not exist, {what}", thread_id=wanted.thread_id)


def _not_found(thread_id: str, checkpoint_id: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(
        f"Thread {thread_id!r} has no checkpoint {checkpoint_id!r}. Take an id from its history.",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )
