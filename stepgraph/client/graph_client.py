"""`GraphClient`: a graph's threads, for whoever has a Temporal client and the graph's name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, get_args

from temporalio.client import Client
from temporalio.service import RPCError

from stepgraph.channels import size_by_channel
from stepgraph.client.graph_run import FinishedRun, GraphRun
from stepgraph.client.ordering import order_from_open
from stepgraph.client.reading import checkpoint_of, has_workers, head_of, history_of, record_left_by
from stepgraph.client.starting import busy, start_next
from stepgraph.codec import RoundTripError, as_json, type_name
from stepgraph.constants import START
from stepgraph.engine.record import Record
from stepgraph.errors import (
    EmptyInputError,
    GraphMismatchError,
    InvalidInputError,
    StepgraphError,
    ThreadBusyError,
    ThreadError,
    UnknownGraphError,
)
from stepgraph.interrupts import Command
from stepgraph.limits import weigh
from stepgraph.run_config import RunConfig, parse_config, parse_thread_id
from stepgraph.runs import Run, closing_of, latest_run, quoted, was_taken_up
from stepgraph.search import FORKED_FROM, are_registered
from stepgraph.settings import text
from stepgraph.snapshot import StateSnapshot, config_for, empty, snapshot_from
from stepgraph.state import StateSchema
from stepgraph.wire import STOP, InvokeOrder, Order, ResumeOrder, WrittenUpdate, task_queue_of

Config = Mapping[str, Any]
Breaks = str | Sequence[str] | None
OnBusy = Literal["refuse", "enqueue", "cancel"]

POLLER_CHECKS = 4
POLLER_PAUSE = 0.5


class GraphClient:
    """Starts, resumes and reads threads of one graph. Method names are those of LangGraph's compiled graphs.

    Args:
        client: a connected `temporalio.client.Client`.
        graph: the graph's name.
        task_queue: where its runs are started; by default the graph's own, or that of `STEPGRAPH_TASK_QUEUE`.
        schema: the graph's state, when its code is here: values then come as the types it declares, not as JSON data.
        check_workers: whether to refuse a start that no worker is there to take.

    Example:
        >>> client = GraphClient(await Client.connect("localhost:7233"), "research")  # doctest: +SKIP
        >>> await client.ainvoke({"query": "x"}, {"configurable": {"thread_id": "t1"}})  # doctest: +SKIP
    """

    def __init__(
        self,
        client: Client,
        graph: str,
        *,
        task_queue: str | None = None,
        schema: StateSchema | None = None,
        check_workers: bool = True,
    ) -> None:
        self.client = client
        self.graph = graph
        self.task_queue = task_queue or text("STEPGRAPH_TASK_QUEUE") or task_queue_of(graph)
        self._schema = schema
        self._check_workers = check_workers
        self._channels = schema.channels if schema is not None else None

    async def ainvoke(
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
            config: ``{"configurable": {"thread_id": ...}}``; with a checkpoint id, what came after it is run again.
                ``recursion_limit`` bounds the super-steps.
            interrupt_before: nodes to stop before, ``"*"`` for all, in place of those named at ``compile``.
            interrupt_after: nodes to stop after, likewise.
            on_busy: what to do when the thread is running: ``refuse`` with a `ThreadBusyError`, ``enqueue`` (wait until
                it stands still), or ``cancel`` (stop its nodes, keep what has finished) and then start.

        Raises:
            NodeError: a node failed for good; also of the node's own exception type where that is loaded.
            InvalidInputError: the input does not fit the state.
            PayloadTooLargeError: it is larger than Temporal carries.
            EmptyInputError: nothing to resume.
            ThreadBusyError: the thread is running.
            GraphMismatchError: the thread belongs to another graph.
            UnknownGraphError: no worker serves the graph.
        """
        if on_busy not in get_args(OnBusy):
            raise InvalidInputError(f"on_busy must be one of {', '.join(get_args(OnBusy))}; got {on_busy!r}.")
        while True:
            try:
                run = await self.astart(
                    input, config, interrupt_before=interrupt_before, interrupt_after=interrupt_after
                )
                return await run.result()
            except ThreadBusyError as error:
                if on_busy == "refuse" or error.thread_id is None:
                    raise
            await self._let_it_end(parse_config(config), stop=on_busy == "cancel")

    async def astart(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
    ) -> GraphRun:
        """Like `ainvoke`, without waiting for the end."""
        wanted = parse_config(config)
        breaks = _breaks(interrupt_before), _breaks(interrupt_after)
        if isinstance(input, Command):
            return await self._resume(wanted, input, before=breaks[0], after=breaks[1])
        given = None if input is None else self._encoded(input)
        latest = await latest_run(self.client, wanted.thread_id)
        record: Record | None = None
        if latest is not None and latest.is_open:
            await self._check_graph(latest)
            asked = InvokeOrder(
                input=given,
                checkpoint_id=wanted.checkpoint_id,
                recursion_limit=wanted.recursion_limit,
                config=wanted.passed_on,
                interrupt_before=breaks[0],
                interrupt_after=breaks[1],
            )
            if await order_from_open(self.client, latest, "invoke", asked) is not None:
                return GraphRun(self.client, latest.thread_id, latest.run_id, self._channels)
            latest = await latest_run(self.client, wanted.thread_id)
        if wanted.checkpoint_id is not None:
            order = Order(values=given, as_node=None if given is None else START, checkpoint_id=wanted.checkpoint_id)
            return await self._start_fork(wanted, order, before=breaks[0], after=breaks[1])
        if latest is not None:
            record = await self._may_go_on(latest, given)
        elif given is None:
            raise EmptyInputError(
                f"Thread {wanted.thread_id!r} does not exist, so there is nothing to resume. Start it with an input.",
                thread_id=wanted.thread_id,
            )
        if given is None and record is not None and not record.next:
            return FinishedRun(self.client, record, self._channels)
        await self._make_sure_it_is_served()
        run = await start_next(
            self.client,
            self.graph,
            given,
            wanted,
            after=latest,
            task_queue=self.task_queue,
            orders={"interrupt_before": breaks[0], "interrupt_after": breaks[1]},
        )
        head = record.checkpoint.id if record is not None else None
        return GraphRun(self.client, run.thread_id, run.run_id, self._channels, head=head)

    async def aupdate_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """Writes values by hand, and gives the config of the checkpoint this makes: the new head. Nothing runs.

        The values go through the reducers. While the thread runs, the update takes effect at the next super-step's end.

        Args:
            config: names the thread; with a checkpoint id, the update grows from that checkpoint.
            values: the state's keys to set; `None` for none.
            as_node: in whose name; what this node's edges and routers lead to runs next. By default the last writer's.
                A virtual author (``"human"``) leaves what runs next as it is, `END` clears it. A node that is still to
                run at the head gets the values as its result.

        Raises:
            InvalidUpdateError: the values do not fit, there is no such node, or several nodes wrote last.
            CheckpointNotFoundError: the thread has no such checkpoint.
        """
        wanted = parse_config(config)
        order = Order(values=self._values(values), as_node=as_node, checkpoint_id=wanted.checkpoint_id)
        return await self._update(wanted, order)

    async def abulk_update_state(
        self, config: Config, supersteps: Sequence[Sequence[tuple[Any, str | None]]]
    ) -> dict[str, Any]:
        """Several updates at once, all or none: each super-step is a list of ``(values, as_node)`` made together.

        Raises like `aupdate_state`.
        """
        wanted = parse_config(config)
        made = tuple(
            tuple(WrittenUpdate(values=self._values(each[0]), as_node=each[1]) for each in superstep)
            for superstep in supersteps
        )
        if not made or not all(made):
            raise InvalidInputError("bulk_update_state needs at least one super-step, and an update in each.")
        return await self._update(wanted, Order(super_steps=made, checkpoint_id=wanted.checkpoint_id))

    async def afork(
        self,
        config: Config,
        values: Any = None,
        as_node: str | None = None,
        thread_id: Any = None,
    ) -> dict[str, Any]:
        """An update at a checkpoint that then runs on; gives the values at the end. Without values, runs it again.

        Args:
            config: names the thread and the checkpoint; the head by default.
            values: the state's keys to set.
            as_node: as in `aupdate_state`.
            thread_id: of a new thread for the fork to grow on; the source is not touched then.

        Raises:
            ThreadError: there is such a thread already, or nothing to fork.
            NodeError: as `ainvoke`, and the rest of what `aupdate_state` and it raise.
        """
        return await (await self.astart_fork(config, values, as_node, thread_id)).result()

    async def astart_fork(
        self,
        config: Config,
        values: Any = None,
        as_node: str | None = None,
        thread_id: Any = None,
    ) -> GraphRun:
        """Like `afork`, without waiting for the end."""
        wanted = parse_config(config)
        order = Order(values=self._values(values), as_node=as_node, checkpoint_id=wanted.checkpoint_id)
        if thread_id is None:
            return await self._start_fork(wanted, order)
        return await self._start_fork_on(parse_thread_id(thread_id), wanted, order)

    async def aget_forks(self, config: Config) -> list[dict[str, Any]]:
        """The configs of the threads that were forked from a thread, the latest first.

        Found by a search attribute: visibility lags about a second, and a namespace where the attributes could not be
        registered knows of none.
        """
        source = parse_config(config).thread_id
        if not await are_registered(self.client):
            return []
        listed = self.client.list_workflows(f"{FORKED_FROM.name} = {quoted(source)}")
        return [config_for(name) for name in dict.fromkeys([each.id async for each in listed])]

    async def aget_run(self, config: Config) -> GraphRun | None:
        """The run that a thread is in, or was last in, whoever started it; `None` for an unknown thread."""
        latest = await latest_run(self.client, parse_config(config).thread_id)
        if latest is None:
            return None
        await self._check_graph(latest)
        return GraphRun(self.client, latest.thread_id, latest.run_id, self._channels)

    async def aget_state(self, config: Config) -> StateSnapshot:
        """The thread's head, or the checkpoint that the config names. An unknown thread has an empty one.

        Needs no worker when the thread's run has ended by itself.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            CheckpointExpiredError: retention has removed it.
            NoWorkerError: the thread is open, and no worker is there to tell.
        """
        wanted = parse_config(config)
        latest = await latest_run(self.client, wanted.thread_id)
        if latest is not None:
            await self._check_graph(latest)
        if wanted.checkpoint_id is not None:
            return snapshot_from(
                await checkpoint_of(self.client, wanted.thread_id, wanted.checkpoint_id), self._channels
            )
        shown = await head_of(self.client, latest) if latest is not None else None
        return snapshot_from(shown, self._channels) if shown is not None else empty(wanted.thread_id)

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """The thread's checkpoints, newest first, across its runs.

        Args:
            config: names the thread; with a checkpoint id, only that checkpoint is given.
            filter: metadata that a checkpoint must have, ``{"source": "loop"}`` say.
            before: a config with a checkpoint id: only what is older.
            limit: how many at the most.
        """
        wanted = parse_config(config)
        if limit is not None and limit < 0:
            raise ThreadError(f"limit must be 0 or more; got {limit}.", thread_id=wanted.thread_id)
        if wanted.checkpoint_id is not None:
            yield await self.aget_state(config)
            return
        older_than = _checkpoint_id(before, wanted) if before is not None else None
        if (latest := await latest_run(self.client, wanted.thread_id)) is None:
            return
        await self._check_graph(latest)
        async for shown in history_of(self.client, wanted.thread_id, filter=filter, before=older_than, limit=limit):
            yield snapshot_from(shown, self._channels)

    async def _let_it_end(self, wanted: RunConfig, *, stop: bool) -> None:
        """Waits until a thread stands still, stopped if that is asked for; how it ended is others' concern."""
        run = await self.aget_run(config_for(wanted.thread_id))
        if run is None:
            return
        if stop:
            with suppress(RPCError):  # it may end by itself meanwhile
                await self.client.get_workflow_handle(run.thread_id).execute_update(STOP)
        with suppress(StepgraphError):
            await run.record()

    async def _resume(
        self, wanted: RunConfig, command: Command, *, before: tuple[str, ...] | None, after: tuple[str, ...] | None
    ) -> GraphRun:
        """Answers the interrupts of a thread that waits, or of one whose run was ended from outside."""
        order = ResumeOrder(
            resume=as_plain_json(command.resume, "An answer to an interrupt"),
            interrupt_before=before,
            interrupt_after=after,
        )
        latest = await latest_run(self.client, wanted.thread_id)
        if latest is None:
            raise EmptyInputError(
                f"Thread {wanted.thread_id!r} does not exist, so nothing waits for an answer.",
                thread_id=wanted.thread_id,
            )
        await self._check_graph(latest)
        if latest.is_open and await order_from_open(self.client, latest, "resume", order) is not None:
            return GraphRun(self.client, latest.thread_id, latest.run_id, self._channels)
        await self._make_sure_it_is_served()
        latest = await latest_run(self.client, wanted.thread_id)
        run = await self._next_run(wanted, latest, resume=order)
        return GraphRun(self.client, run.thread_id, run.run_id, self._channels)

    async def _update(self, wanted: RunConfig, order: Order) -> dict[str, Any]:
        while True:
            latest = await latest_run(self.client, wanted.thread_id)
            if latest is not None:
                await self._check_graph(latest)
            if latest is not None and latest.is_open:
                config = await order_from_open(self.client, latest, "update", order)
                if config is not None:
                    return config
                continue  # it ended while it was asked
            await self._make_sure_it_is_served()
            try:
                run = await self._next_run(wanted, latest, update=order)
            except ThreadBusyError:
                continue  # somebody was faster: now it is open
            record = await GraphRun(self.client, run.thread_id, run.run_id, None).record()
            return config_for(record.thread_id, record.checkpoint.id)

    async def _start_fork(
        self,
        wanted: RunConfig,
        order: Order,
        *,
        before: tuple[str, ...] | None = None,
        after: tuple[str, ...] | None = None,
    ) -> GraphRun:
        latest = await latest_run(self.client, wanted.thread_id)
        if latest is None:
            raise EmptyInputError(
                f"Thread {wanted.thread_id!r} does not exist, so there is nothing to run again.",
                thread_id=wanted.thread_id,
            )
        await self._check_graph(latest)
        if latest.is_open:
            if await order_from_open(self.client, latest, "fork", order) is not None:
                return GraphRun(self.client, latest.thread_id, latest.run_id, self._channels)
            latest = await latest_run(self.client, wanted.thread_id)
        await self._make_sure_it_is_served()
        run = await self._next_run(wanted, latest, fork=order, interrupt_before=before, interrupt_after=after)
        return GraphRun(self.client, run.thread_id, run.run_id, self._channels, head=order.checkpoint_id)

    async def _start_fork_on(self, thread_id: str, source: RunConfig, order: Order) -> GraphRun:
        """Starts a new thread that grows from a checkpoint of another."""
        checkpoint_id = source.checkpoint_id or (await self.aget_state(config_for(source.thread_id))).checkpoint_id
        if checkpoint_id is None:
            raise EmptyInputError(f"Thread {source.thread_id!r} has no checkpoint to fork.", thread_id=source.thread_id)
        if await latest_run(self.client, thread_id) is not None:
            raise ThreadError(
                f"There is a thread {thread_id!r} already; a fork grows on a new one. Choose another thread_id.",
                thread_id=thread_id,
            )
        await self._make_sure_it_is_served()
        order = order.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": source.thread_id})
        run = await self._next_run(replace(source, thread_id=thread_id, checkpoint_id=None), None, fork=order)
        return GraphRun(self.client, run.thread_id, run.run_id, self._channels)

    async def _next_run(self, wanted: RunConfig, latest: Run | None, **orders: Any) -> Run:
        return await start_next(
            self.client, self.graph, None, wanted, after=latest, task_queue=self.task_queue, orders=orders
        )

    def _values(self, values: Any) -> dict[str, Any] | None:
        return None if values is None else self._encoded(values)

    def _encoded(self, input: Any) -> dict[str, Any]:
        encoded = self._schema.encode_input(self.graph, input) if self._schema else self._as_it_is(input)
        weigh(f"The input of graph {self.graph!r}", size_by_channel(encoded))
        return encoded

    def _as_it_is(self, input: Any) -> dict[str, Any]:
        if not isinstance(input, Mapping):
            raise InvalidInputError(
                f"The input of graph {self.graph!r} must be a mapping of plain JSON data; got {type_name(input)}.",
                graph=self.graph,
            )
        encoded: dict[str, Any] = as_plain_json(dict(input), f"Without the graph's code, the input of {self.graph!r}")
        return encoded

    async def _may_go_on(self, latest: Run, given: Any) -> Record | None:
        """The record of a thread that is free to go on with this graph."""
        if latest.is_open:
            await self._check_graph(latest)
            raise busy(latest.thread_id, latest)
        record = (await closing_of(self.client, latest)).record
        await self._check_graph(latest, record)
        if record is None and (given is None or latest.ended_from_outside):
            await self._make_sure_it_is_served()  # for a replay may have to tell what there is
            record = await record_left_by(self.client, latest)
        return record

    async def _check_graph(self, run: Run, record: Record | None = None) -> None:
        if run.graph == self.graph:
            return
        if record is None and not run.is_open:
            closing = await closing_of(self.client, run)
            record = closing.record
            if record is None and (closing.error is not None or not await was_taken_up(self.client, run)):
                record = await record_left_by(self.client, run)
                if record is None:
                    return  # a start that came to nothing: no graph has the thread yet
        owner = record.graph if record is not None else run.graph
        if owner != self.graph:
            raise GraphMismatchError(
                f"Thread {run.thread_id!r} belongs to graph {owner!r}, not to {self.graph!r}. Use another thread id.",
                thread_id=run.thread_id,
                graph=self.graph,
                thread_graph=owner,
            )

    async def _make_sure_it_is_served(self) -> None:
        """Refuses to start what nobody would take: a name mistyped, or a worker not started."""
        if not self._check_workers:
            return
        for _ in range(POLLER_CHECKS):
            if await has_workers(self.client, self.task_queue):
                return
            await asyncio.sleep(POLLER_PAUSE)
        raise UnknownGraphError(
            f"No worker serves graph {self.graph!r}: nobody polls task queue {self.task_queue!r}. Start one with "
            "worker.py --graphs MODULE:VARIABLE, or mend the name.",
            graph=self.graph,
            task_queue=self.task_queue,
        )


def _checkpoint_id(config: Config, of: RunConfig) -> str:
    found = parse_config(
        {"configurable": {"thread_id": of.thread_id, **dict(config.get("configurable", {}))}}
    ).checkpoint_id
    if found is None:
        raise ThreadError("'before' must name a checkpoint: a snapshot's config.", thread_id=of.thread_id)
    return found


def as_plain_json(value: Any, what: str) -> Any:
    """The value, if it is JSON as it is; `InvalidInputError` otherwise."""
    try:
        return as_json(value)
    except RoundTripError as error:
        raise InvalidInputError(f"{what} must be plain JSON data: {error}.") from error


def _breaks(names: Breaks) -> tuple[str, ...] | None:
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)
