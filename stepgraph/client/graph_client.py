"""`GraphClient`: a graph's threads, for whoever has a Temporal client and the graph's name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from temporalio.client import Client

from stepgraph.channels import size_by_channel
from stepgraph.client.graph_run import FinishedRun, GraphRun
from stepgraph.client.reading import checkpoint_of, has_workers, head_of, history_of, record_left_by
from stepgraph.client.starting import busy, start_next
from stepgraph.codec import RoundTripError, as_json, type_name
from stepgraph.engine.record import Record
from stepgraph.errors import (
    EmptyInputError,
    GraphMismatchError,
    InvalidInputError,
    ThreadError,
    UnknownGraphError,
)
from stepgraph.limits import weigh
from stepgraph.run_config import RunConfig, parse_config
from stepgraph.runs import Run, closing_of, latest_run, was_taken_up
from stepgraph.settings import text
from stepgraph.snapshot import StateSnapshot, empty, snapshot_from
from stepgraph.state import StateSchema
from stepgraph.wire import task_queue_of

Config = Mapping[str, Any]

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

    async def ainvoke(self, input: Any, config: Config | None = None) -> dict[str, Any]:
        """Runs a thread to its end, and gives the values.

        Args:
            input: the state's keys to set; `None` resumes a thread where it failed.
            config: ``{"configurable": {"thread_id": ...}}``; ``recursion_limit`` bounds the super-steps.

        Raises:
            NodeError: a node failed for good; also of the node's own exception type where that is loaded.
            InvalidInputError: the input does not fit the state.
            PayloadTooLargeError: it is larger than Temporal carries.
            EmptyInputError: nothing to resume.
            ThreadBusyError: the thread is running.
            GraphMismatchError: the thread belongs to another graph.
            UnknownGraphError: no worker serves the graph.
        """
        return await (await self.astart(input, config)).result()

    async def astart(self, input: Any, config: Config | None = None) -> GraphRun:
        """Like `ainvoke`, without waiting for the end."""
        wanted = parse_config(config)
        if wanted.checkpoint_id is not None:
            raise ThreadError(
                f"A run goes on from the head of thread {wanted.thread_id!r}; leave 'checkpoint_id' out of the config.",
                thread_id=wanted.thread_id,
            )
        given = None if input is None else self._encoded(input)
        latest = await latest_run(self.client, wanted.thread_id)
        record: Record | None = None
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
        run = await start_next(self.client, self.graph, given, wanted, after=latest, task_queue=self.task_queue)
        head = record.checkpoint.id if record is not None else None
        return GraphRun(self.client, run.thread_id, run.run_id, self._channels, head=head)

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

    def _encoded(self, input: Any) -> dict[str, Any]:
        encoded = self._schema.encode_input(self.graph, input) if self._schema else self._as_it_is(input)
        weigh(f"The input of graph {self.graph!r}", size_by_channel(encoded))
        return encoded

    def _as_it_is(self, input: Any) -> dict[str, Any]:
        try:
            if not isinstance(input, Mapping):
                raise RoundTripError(f"got {type_name(input)}")
            encoded: dict[str, Any] = as_json(dict(input))
        except RoundTripError as error:
            raise InvalidInputError(
                f"Without the graph's code, the input of {self.graph!r} must be a mapping of plain JSON data: {error}.",
                graph=self.graph,
            ) from error
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
