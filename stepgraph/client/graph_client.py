"""`GraphClient`: LangGraph's async methods for the threads of one graph, through a Temporal client.

Owns turning arguments into commands, and JSON data into snapshots. What a command does on the server is decided in
`stepgraph.client.invocations` and `stepgraph.client.update_commands`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Unpack, get_args

from temporalio.client import Client

from stepgraph.client.graph_run import GraphRun
from stepgraph.client.graph_threads import Threads
from stepgraph.client.input_encoder import encode_input
from stepgraph.client.invocations import invoke_thread, resume_thread
from stepgraph.client.server_errors import server_errors
from stepgraph.client.thread_reader import read_checkpoint, read_current_head, read_history
from stepgraph.client.update_commands import fork_thread, fork_to_new_thread, update_thread
from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.spec import Durability
from stepgraph.errors import InvalidInputError
from stepgraph.execution.context_schema import ContextSchema
from stepgraph.execution.sent_input import encode_send
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.commands import OnBusy
from stepgraph.protocol.config import Breaks, Config, RunnableConfig, parse_config, parse_thread_id
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.invoke_result import OutputKeys, check_output_keys
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
from stepgraph.protocol.method_keywords import InvokeKeywords, Supersteps
from stepgraph.protocol.names import task_queue_of
from stepgraph.protocol.send import Send
from stepgraph.protocol.snapshot import StateSnapshot, config_for, empty_snapshot, snapshot_from
from stepgraph.serde.error_text import value_text
from stepgraph.serde.sizes import size_limit
from stepgraph.temporal.executions import quote_value
from stepgraph.temporal.search_attributes import FORKED_FROM, attributes_registered
from stepgraph.temporal.settings import text_setting
from stepgraph.temporal.storage import uses_storage, with_missing_storage_errors


class GraphClient:
    """Starts, resumes and reads threads of one graph, with the async methods of `CompiledGraph`.

    A method raises `GraphMismatchError` if the thread belongs to another graph, and `UnknownGraphError` if it needs a
    new run and no worker serves the graph.

    Args:
        client: a connected `temporalio.client.Client`.
        graph: the graph's name.
        task_queue: the task queue of new runs; by default that of ``STEPGRAPH_TASK_QUEUE``, or else the graph's own.
        schema: the graph's state schema. With it, values have the types that the schema declares; without it, they are
            JSON data.
        check_workers: whether to refuse to start a run while no worker polls its task queue.

    Examples:
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
        self.client = with_missing_storage_errors(client)
        self.graph = graph
        self.task_queue = task_queue or text_setting("STEPGRAPH_TASK_QUEUE") or task_queue_of(graph)
        self._schema = schema
        self._types = schema.channels.types_hash if schema is not None else ""
        self._threads = Threads(self.client, graph, self.task_queue, schema, check_workers)

    async def ainvoke(
        self, input: Any, config: Config | None = None, **options: Unpack[InvokeKeywords]
    ) -> dict[str, Any] | Any:
        """Run a thread until it is idle, and return its values.

        See `CompiledGraph.invoke` for the arguments, the result and the errors.
        """
        run = await self.astart(input, config, **options)
        return await run.result()

    async def astart(
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
        on_busy: OnBusy = "refuse",
    ) -> GraphRun:
        """Start or resume a thread, and return its run without waiting for the result.

        See `CompiledGraph.invoke` for the arguments. With ``on_busy="enqueue"``, the input is in the thread's input
        queue when this method returns.
        """
        with server_errors(self.client):
            check_supported(stream_mode=stream_mode, control=control, version=version)
            input = from_langgraph(input)
            run_config = parse_config(config, new_thread=input is not None and not isinstance(input, Command))
            run_config = run_config.with_context(self._encode_context(context))
            known = self._schema.channels.names if self._schema is not None else None
            output_keys = check_output_keys(output_keys, known)
            if on_busy not in get_args(OnBusy):
                allowed = ", ".join(get_args(OnBusy))
                raise InvalidInputError(f"on_busy must be one of {allowed}; got {value_text(on_busy)}.")
            breaks = interrupt_before, interrupt_after
            if isinstance(input, Command):
                encoders = self._encode_update, self._encode_send
                resume = resume_command(run_config, input, *breaks, *encoders, types=self._types, durability=durability)
                run = await resume_thread(self._threads, run_config, resume)
            else:
                input_data = self._encode(input)
                command = invoke_command(run_config, input_data, *breaks, on_busy=on_busy, durability=durability)
                command = command.model_copy(update={"types": self._types})
                run = await invoke_thread(self._threads, run_config, command)
            run.output_keys = output_keys
            return run

    async def aupdate_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> RunnableConfig:
        """Write values to the state, and return the config of the checkpoint that this makes.

        See `CompiledGraph.update_state` for the arguments and the errors.
        """
        with server_errors(self.client):
            run_config = parse_config(config)
            command = update_command(
                run_config, values, as_node, self._encode_update, types=self._types, task_id=task_id
            )
            return await update_thread(self._threads, run_config, command)

    async def abulk_update_state(self, config: Config, supersteps: Supersteps) -> RunnableConfig:
        """Apply several updates, all or none, and return the config of the last checkpoint that this makes.

        See `CompiledGraph.bulk_update_state` for the arguments and the errors.
        """
        with server_errors(self.client):
            run_config = parse_config(config)
            command = bulk_update_command(run_config, supersteps, self._encode_update, types=self._types)
            return await update_thread(self._threads, run_config, command)

    async def afork(
        self,
        config: Config,
        values: Any = None,
        as_node: str | None = None,
        thread_id: Any = None,
    ) -> dict[str, Any] | Any:
        """Update the state at a checkpoint, run from there until the thread is idle, and return its values.

        See `CompiledGraph.fork` for the arguments and the errors.
        """
        return await (await self.astart_fork(config, values, as_node, thread_id)).result()

    async def astart_fork(
        self,
        config: Config,
        values: Any = None,
        as_node: str | None = None,
        thread_id: Any = None,
    ) -> GraphRun:
        """Start a fork, and return its run without waiting for the result. See `CompiledGraph.fork`."""
        with server_errors(self.client):
            run_config = parse_config(config)
            command = update_command(run_config, values, as_node, self._encode_update, types=self._types)
            if thread_id is None:
                return await fork_thread(self._threads, run_config, command)
            return await fork_to_new_thread(self._threads, run_config, parse_thread_id(thread_id), command)

    async def aget_forks(self, config: Config) -> list[RunnableConfig]:
        """Return the configs of the threads that were forked from a thread, the latest first.

        They are found by a search attribute. Temporal's visibility lags about a second, and in a namespace where the
        attributes could not be registered the result is empty.
        """
        with server_errors(self.client):
            source = parse_config(config).thread_id
            if not await attributes_registered(self.client):
                return []
            listed = self.client.list_workflows(f"{FORKED_FROM.name} = {quote_value(source)}")
            return [config_for(name) for name in dict.fromkeys([each.id async for each in listed])]

    async def aget_run(self, config: Config) -> GraphRun | None:
        """Return a thread's latest run, open or closed, whoever started it; `None` if the thread does not exist."""
        with server_errors(self.client):
            latest = await self._threads.latest(parse_config(config).thread_id)
            return self._threads.graph_run(latest.thread_id, latest.run_id) if latest is not None else None

    async def aget_state(self, config: Config) -> StateSnapshot:
        """Return the snapshot of a thread's head, or of the checkpoint that the config names.

        The snapshot of a thread that does not exist is empty. No worker is needed: where none answers, the history of
        the run is replayed in this process.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            CheckpointExpiredError: retention has removed the run that made the checkpoint.
        """
        with server_errors(self.client):
            run_config = parse_config(config)
            latest = self._threads.latest(run_config.thread_id)
            snapshot: dict[str, Any] | None
            reason: str | None = None
            if run_config.checkpoint_id is not None:
                snapshot = await read_checkpoint(
                    self.client, await latest, run_config.thread_id, run_config.checkpoint_id
                )
            else:
                snapshot, reason = await read_current_head(self.client, run_config.thread_id, latest)
            read = empty_snapshot(run_config.thread_id) if snapshot is None else snapshot_from(snapshot, self._schema)
            return read if reason is None else read._replace(errors=(reason, *read.errors))

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """Yield the thread's checkpoints, newest first, across its runs.

        See `CompiledGraph.get_state_history` for the arguments.
        """
        with server_errors(self.client):
            run_config = parse_config(config)
            check_limit(limit, run_config)
            if run_config.checkpoint_id is not None:
                yield await self.aget_state(config)
                return
            filter = check_filter(filter, run_config)
            before_id = checkpoint_before(before, run_config)
            if await self._threads.latest(run_config.thread_id) is None:
                return
            snapshots = read_history(self.client, run_config.thread_id, filter=filter, before=before_id, limit=limit)
            async for snapshot in snapshots:
                yield snapshot_from(snapshot, self._schema)

    def _encode_context(self, context: Any) -> Any:
        """Encode an invoke's context as JSON data; without the graph's code, it must be JSON data already."""
        return (self._schema.context if self._schema is not None else ContextSchema()).encode(self.graph, context)

    def _encode_send(self, send: Send) -> SentTask:
        return encode_send(self._schema, "The Command", send)

    def _encode_update(self, values: Any) -> dict[str, Any] | None:
        return self._encode(values, is_update=True)

    def _encode(self, values: Any, *, is_update: bool = False) -> dict[str, Any] | None:
        """Encode a caller's values as JSON data that fits the state and the size limit of a payload."""
        limit = size_limit(uses_external_storage=uses_storage(self.client))
        return encode_input(self.graph, self._schema, values, is_update=is_update, limit=limit)
