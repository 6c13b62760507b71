"""`CompiledGraph`: a graph ready to run, with LangGraph's methods.

Owns the methods that users call and their documentation. Each method passes its call to a `GraphClient` of the
process's session. The session, and with it the Temporal SDK, is loaded at the first call: a graph can be drawn and
tested without Temporal.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

from stepgraph.engine.spec import Durability
from stepgraph.execution.registry import GraphRegistry
from stepgraph.graph.batch import Configs, invoke_all
from stepgraph.graph.description import GraphDescription
from stepgraph.graph.missing_methods import missing_attribute
from stepgraph.protocol.commands import OnBusy
from stepgraph.protocol.config import Breaks, Config, RunnableConfig, merge_configs
from stepgraph.protocol.invoke_result import OutputKeys
from stepgraph.protocol.method_keywords import HistoryKeywords, InvokeKeywords, Supersteps
from stepgraph.protocol.snapshot import StateSnapshot

if TYPE_CHECKING:
    from stepgraph.client import GraphClient
    from stepgraph.hosting.session import Session


class CompiledGraph(GraphDescription):
    """A graph that runs on Temporal. `StateGraph.compile` makes it.

    ``config`` is LangGraph's: ``{"configurable": {"thread_id": "t1"}, "recursion_limit": 50}``. Nodes find the other
    keys of ``configurable``, and ``tags`` and ``metadata``, in their own ``config``; these must be plain JSON.
    """

    def __init__(
        self,
        registry: GraphRegistry,
        *,
        checkpointer: bool | None = None,
        debug: bool = False,
        config: Config | None = None,
    ) -> None:
        self.registry = registry
        self.checkpointer = checkpointer
        self.debug = debug
        self.config: Config | None = config
        """What each call's own config is merged into; see `with_config`."""

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute(name)

    def with_config(self, config: Config | None = None, **keys: Any) -> CompiledGraph:
        """Return a copy of the graph whose calls begin with a config: LangChain's way to preset tags, a limit, a user.

        A call's own config is merged into it: tags are added, metadata and ``configurable`` by key.
        """
        merged = merge_configs(self.config, config, keys)
        return CompiledGraph(self.registry, checkpointer=self.checkpointer, debug=self.debug, config=merged)

    def merged_config(self, config: Config | None) -> Config:
        """Return a call's config, merged into that of the graph; without one there, as it is."""
        return cast(Config, config) if self.config is None else merge_configs(self.config, config)

    def invoke(
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
    ) -> dict[str, Any] | Any:
        """Run a thread until it is idle, and return its values.

        Interrupts that wait for an answer are listed under ``__interrupt__``, each an `Interrupt`.

        Args:
            input: keys of the state to set. `None` resumes a thread that failed or is paused at a breakpoint. If the
                thread's run is under way, perhaps of a process that was killed, `None` joins it: this process's worker
                serves it, and the call returns, or raises, what the run gives. A `Command` answers the thread's
                interrupts, writes values, and leads to further nodes.
            config: names the thread. With a checkpoint id, the thread runs again from that checkpoint. An input without
                a thread id gets a thread of its own.
            context: what nodes find as ``runtime.context``: an instance of the graph's ``context_schema``, or a mapping
                of its keys. It travels as JSON data.
            stream_mode: ``"values"``, the only one here.
            print_mode: has no effect.
            output_keys: the keys to return, in place of those of ``output_schema``; for one key as a string, its value.
            interrupt_before: nodes to pause before, ``"*"`` for all; replaces the breakpoints given to ``compile``.
            interrupt_after: nodes to pause after, likewise.
            durability: when this invoke's super-steps are recorded, in place of what was given to ``compile``.
            control: must be `None`.
            version: ``"v1"``, the only one here.
            debug: has no effect: ``STEPGRAPH_LOG_LEVEL=debug`` tells more.
            on_busy: what to do with an input if the thread is running. ``"refuse"`` raises `ThreadBusyError`.
                ``"enqueue"`` puts it at the end of the thread's input queue: it runs once the thread is idle and the
                inputs before it have run. ``"cancel"`` stops the running nodes, keeps the results of finished ones, and
                puts the input at the front of the queue. Temporal keeps the queue: it outlives this process.

        Raises:
            NodeError: a node failed and is not retried. The error is also of the node's own exception type if that type
                is imported here, so ``except ConnectionError`` works. Finished tasks keep their results.
            InvalidInputError: the input does not fit the state; the message names the key. Or the context does not fit
                its class, or another argument is unusable.
            UnsupportedError: an argument asks for what LangGraph has and stepgraph has not.
            EmptyInputError: there is no input, and nothing to resume.
            ThreadBusyError: the thread is running, and the input was to be refused then; or its input queue is full.
            RunEndedError: the run was cancelled, terminated or timed out. Its input queue is lost.
            NoServerError: no Temporal server can be reached or started.
        """
        options: InvokeKeywords = {
            "context": context,
            "stream_mode": stream_mode,
            "print_mode": print_mode,
            "output_keys": output_keys,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "durability": durability,
            "control": control,
            "version": version,
            "debug": debug,
            "on_busy": on_busy,
        }
        config = self.merged_config(config)
        return _session().call(self.registry, lambda client: client.ainvoke(input, config, **options))

    async def ainvoke(
        self, input: Any, config: Config | None = None, **options: Unpack[InvokeKeywords]
    ) -> dict[str, Any] | Any:
        """Awaitable version of `invoke`."""
        inspect.signature(self.invoke).bind(input, config, **options)  # a wrong keyword must not start a server first
        config = self.merged_config(config)
        return await _session().acall(self.registry, lambda client: client.ainvoke(input, config, **options))

    def batch(
        self,
        inputs: Sequence[Any],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[InvokeKeywords],
    ) -> list[Any]:
        """Invoke the graph on several inputs at once, and return the results in order.

        Args:
            inputs: the inputs. Those whose config names no thread get a thread each.
            config: the config of all of them, or a list with one for each. At most ``max_concurrency`` run at once.
            return_exceptions: whether an error is returned in its place instead of raised.
            options: those of `invoke`, for all inputs.
        """
        inspect.signature(self.invoke).bind(None, None, **options)
        return _session().call(self.registry, self._batch_call(inputs, config, options, return_exceptions))

    async def abatch(
        self,
        inputs: Sequence[Any],
        config: Configs = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[InvokeKeywords],
    ) -> list[Any]:
        """Awaitable version of `batch`."""
        inspect.signature(self.invoke).bind(None, None, **options)
        return await _session().acall(self.registry, self._batch_call(inputs, config, options, return_exceptions))

    def _batch_call(
        self, inputs: Sequence[Any], config: Configs, options: InvokeKeywords, return_exceptions: bool
    ) -> Callable[[GraphClient], Coroutine[Any, Any, list[Any]]]:
        def call(client: GraphClient) -> Coroutine[Any, Any, list[Any]]:
            async def invoke(input: Any, own_config: Config | None) -> Any:
                return await client.ainvoke(input, self.merged_config(own_config), **options)

            return invoke_all(invoke, inputs, config, return_exceptions=return_exceptions)

        return call

    def update_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> RunnableConfig:
        """Write values to a thread's state, and return the config of the checkpoint that this makes: the new head.

        The values go through the reducers. No node runs. If the thread is running, the update is applied after the
        current super-step.

        Args:
            config: names the thread. With a checkpoint id, the new checkpoint follows that checkpoint.
            values: keys of the state to set; `None` for none.
            as_node: the node that counts as the author of the values; the nodes to which its edges and routers lead run
                next. If that node is due, the values become its result. By default the author is the node that wrote
                last; at a checkpoint that holds an input which no node has processed, the values are added to the
                input. A virtual author (``"human"``) leaves the nodes that run next unchanged, and `END` removes them.
            task_id: the task that the values become the result of, where the node is due several times: an id of the
                snapshot's ``tasks``.

        Raises:
            InvalidUpdateError: the values do not fit the state, ``as_node`` is not a node, or several nodes wrote last
                and ``as_node`` is missing; or the node is due several times and ``task_id`` is missing.
            CheckpointNotFoundError: the thread has no such checkpoint.
        """
        own = self.merged_config(config)
        return _session().call(self.registry, lambda client: client.aupdate_state(own, values, as_node, task_id))

    async def aupdate_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> RunnableConfig:
        """Awaitable version of `update_state`."""
        own = self.merged_config(config)
        return await _session().acall(self.registry, lambda client: client.aupdate_state(own, values, as_node, task_id))

    def bulk_update_state(self, config: Config, supersteps: Supersteps) -> RunnableConfig:
        """Apply several updates, all or none, and return the config of the last checkpoint that this makes.

        Args:
            config: names the thread, as in `update_state`.
            supersteps: a list of ``(values, as_node)`` for each super-step. The updates of one list are applied
                together and make one checkpoint.

        Raises:
            InvalidInputError: there is no super-step, or one without an update.
            InvalidUpdateError: one of the updates is refused, as in `update_state`.
        """
        own = self.merged_config(config)
        return _session().call(self.registry, lambda client: client.abulk_update_state(own, supersteps))

    async def abulk_update_state(self, config: Config, supersteps: Supersteps) -> RunnableConfig:
        """Awaitable version of `bulk_update_state`."""
        own = self.merged_config(config)
        return await _session().acall(self.registry, lambda client: client.abulk_update_state(own, supersteps))

    def fork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any] | Any:
        """Update the state at a checkpoint, run from there until the thread is idle, and return its values.

        Without ``values`` and ``as_node``, the checkpoint's tasks run again.

        Args:
            config: names the thread and the checkpoint; the head by default.
            values: keys of the state to set.
            as_node: the author of the values, as in `update_state`.
            thread_id: the id of a new thread, which starts from the checkpoint; the source thread does not change. By
                default the thread itself goes on from the checkpoint.

        Raises:
            ThreadError: the new thread exists already, or there is no checkpoint to fork.
            StepgraphError: what `update_state` and `invoke` raise.
        """
        own = self.merged_config(config)
        return _session().call(self.registry, lambda client: client.afork(own, values, as_node, thread_id))

    async def afork(
        self, config: Config, values: Any = None, as_node: str | None = None, thread_id: Any = None
    ) -> dict[str, Any] | Any:
        """Awaitable version of `fork`."""
        own = self.merged_config(config)
        return await _session().acall(self.registry, lambda client: client.afork(own, values, as_node, thread_id))

    def get_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the snapshot of a thread's head, or of the checkpoint that the config names.

        The snapshot of a thread that does not exist is empty. ``subgraphs`` has no effect yet: there are none.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            CheckpointExpiredError: retention has removed the run that made the checkpoint.
        """
        own = self.merged_config(config)
        return _session().read(self.registry, lambda client: client.aget_state(own))

    async def aget_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Awaitable version of `get_state`."""
        own = self.merged_config(config)
        return await _session().aread(self.registry, lambda client: client.aget_state(own))

    def get_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield the thread's checkpoints, newest first, across its runs.

        Args:
            config: names the thread. With a checkpoint id, only that checkpoint is returned.
            filter: metadata that a checkpoint must have, for example ``{"source": "loop"}``.
            before: a config with a checkpoint id: only older checkpoints are returned.
            limit: the largest number of checkpoints to return.
        """
        options: HistoryKeywords = {"filter": filter, "before": before, "limit": limit}
        own = self.merged_config(config)
        return _session().stream(self.registry, lambda client: client.aget_state_history(own, **options))

    def aget_state_history(self, config: Config, **options: Unpack[HistoryKeywords]) -> AsyncIterator[StateSnapshot]:
        """Asynchronous iterator version of `get_state_history`."""
        inspect.signature(self.get_state_history).bind(config, **options)  # as in `ainvoke`
        own = self.merged_config(config)
        return _session().astream(self.registry, lambda client: client.aget_state_history(own, **options))


def _session() -> Session:
    """Return the process's session. Imported here, so that Temporal's SDK is loaded when a graph first runs."""
    from stepgraph.hosting.session import current

    return current()
