"""`GraphClient`: a graph's threads, for whoever has a Temporal client and the graph's name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, get_args

from temporalio.client import Client

from stepgraph.client.graph_run import GraphRun
from stepgraph.client.graph_threads import Threads
from stepgraph.client.input_encoder import encoded
from stepgraph.client.invocations import answer, invoke
from stepgraph.client.thread_reader import checkpoint_of, current_head, history_of
from stepgraph.client.update_commands import fork, fork_onto, update
from stepgraph.errors import InvalidInputError
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.commands import OnBusy
from stepgraph.protocol.config import Breaks, Config, parse_config, parse_thread_id
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.method_arguments import (
    bulk_update_command,
    check_limit,
    checkpoint_before,
    invoke_command,
    resume_command,
    update_command,
)
from stepgraph.protocol.names import task_queue_of
from stepgraph.protocol.snapshot import StateSnapshot, config_for, empty, snapshot_from
from stepgraph.serde.sizes import size_limit
from stepgraph.temporal.executions import quote_value
from stepgraph.temporal.search_attributes import FORKED_FROM, attributes_registered
from stepgraph.temporal.settings import text
from stepgraph.temporal.storage import uses_storage, with_storage_errors


class GraphClient:
    """Starts, resumes and reads threads of one graph: the async methods of `CompiledGraph`, for a client of your own.

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
        self.client = with_storage_errors(client)
        self.graph = graph
        self.task_queue = task_queue or text("STEPGRAPH_TASK_QUEUE") or task_queue_of(graph)
        self._schema = schema
        self._channels = schema.channels if schema is not None else None
        self._threads = Threads(self.client, graph, self.task_queue, self._channels, check_workers)

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

        The arguments, and what it raises, are those of `CompiledGraph.invoke`; moreover an `UnknownGraphError` where no
        worker serves the graph, and a `GraphMismatchError` where the thread belongs to another one.
        """
        run = await self.astart(
            input, config, interrupt_before=interrupt_before, interrupt_after=interrupt_after, on_busy=on_busy
        )
        return await run.result()

    async def astart(
        self,
        input: Any,
        config: Config | None = None,
        *,
        interrupt_before: Breaks = None,
        interrupt_after: Breaks = None,
        on_busy: OnBusy = "refuse",
    ) -> GraphRun:
        """Like `ainvoke`, without waiting for the end. With ``enqueue`` the input is in line when this returns."""
        wanted = parse_config(config)
        if on_busy not in get_args(OnBusy):
            raise InvalidInputError(f"on_busy must be one of {', '.join(get_args(OnBusy))}; got {on_busy!r}.")
        if isinstance(input, Command):
            return await answer(self._threads, wanted, resume_command(input, interrupt_before, interrupt_after))
        given = self._encoded(input)
        asked = invoke_command(wanted, given, interrupt_before, interrupt_after, on_busy=on_busy)
        return await invoke(self._threads, wanted, asked)

    async def aupdate_state(self, config: Config, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """Writes values by hand, and gives the config of the checkpoint this makes: the new head. Nothing runs.

        The arguments, and what it raises, are those of `CompiledGraph.update_state`.
        """
        wanted = parse_config(config)
        return await update(self._threads, wanted, update_command(wanted, values, as_node, self._encoded))

    async def abulk_update_state(
        self, config: Config, supersteps: Sequence[Sequence[tuple[Any, str | None]]]
    ) -> dict[str, Any]:
        """Several updates at once, all or none: each super-step is a list of ``(values, as_node)`` made together."""
        wanted = parse_config(config)
        return await update(self._threads, wanted, bulk_update_command(wanted, supersteps, self._encoded))

    async def afork(
        self,
        config: Config,
        values: Any = None,
        as_node: str | None = None,
        thread_id: Any = None,
    ) -> dict[str, Any]:
        """An update at a checkpoint that then runs on; gives the values at the end. Without values, runs it again.

        The arguments, and what it raises, are those of `CompiledGraph.fork`.
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
        command = update_command(wanted, values, as_node, self._encoded)
        if thread_id is None:
            return await fork(self._threads, wanted, command)
        return await fork_onto(self._threads, wanted, parse_thread_id(thread_id), command)

    async def aget_forks(self, config: Config) -> list[dict[str, Any]]:
        """The configs of the threads that were forked from a thread, the latest first.

        Found by a search attribute: visibility lags about a second, and a namespace where the attributes could not be
        registered knows of none.
        """
        source = parse_config(config).thread_id
        if not await attributes_registered(self.client):
            return []
        listed = self.client.list_workflows(f"{FORKED_FROM.name} = {quote_value(source)}")
        return [config_for(name) for name in dict.fromkeys([each.id async for each in listed])]

    async def aget_run(self, config: Config) -> GraphRun | None:
        """The run that a thread is in, or was last in, whoever started it; `None` for an unknown thread."""
        latest = await self._threads.latest(parse_config(config).thread_id)
        return self._threads.run(latest) if latest is not None else None

    async def aget_state(self, config: Config) -> StateSnapshot:
        """The thread's head, or the checkpoint that the config names. An unknown thread has an empty one.

        Needs no worker when the thread's run has ended by itself.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            CheckpointExpiredError: retention has removed it.
            NoWorkerError: the thread is open, and no worker is there to tell.
        """
        wanted = parse_config(config)
        latest = self._threads.latest(wanted.thread_id)
        shown: dict[str, Any] | None
        if wanted.checkpoint_id is not None:
            shown = await checkpoint_of(self.client, await latest, wanted.thread_id, wanted.checkpoint_id)
        else:
            shown = await current_head(self.client, wanted.thread_id, latest)
        return snapshot_from(shown, self._channels) if shown is not None else empty(wanted.thread_id)

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """The thread's checkpoints, newest first, across its runs; arguments as `CompiledGraph.get_state_history`."""
        wanted = parse_config(config)
        check_limit(limit, wanted)
        if wanted.checkpoint_id is not None:
            yield await self.aget_state(config)
            return
        last = checkpoint_before(before, wanted)
        if await self._threads.latest(wanted.thread_id) is None:
            return
        async for shown in history_of(self.client, wanted.thread_id, filter=filter, before=last, limit=limit):
            yield snapshot_from(shown, self._channels)

    def _encoded(self, given: Any) -> dict[str, Any] | None:
        return encoded(
            self.graph, self._schema, given, limit=size_limit(uses_external_storage=uses_storage(self.client))
        )
