"""`GraphPlugin`: adds graphs to a Temporal `Worker`, the user's own or one of stepgraph's.

Owns what a worker needs to serve graphs: the workflow, the activities, the search attributes, external storage, the
sandbox's exceptions. Knows nothing of how the worker's client was connected or of how long the worker runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import ReplayerConfig, Worker, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from stepgraph.client import query_run_or_replay
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.registry import GraphRegistry, HasRegistry
from stepgraph.hosting.process_store import process_store
from stepgraph.protocol.start_options import DEFAULT_WORKFLOW_TASK_SECONDS, WORKFLOW_TASK_SECONDS
from stepgraph.serde.error_text import type_name
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.logs import quiet_sdk
from stepgraph.temporal.search_attributes import register
from stepgraph.temporal.settings import number_setting, run_settings
from stepgraph.temporal.state_cache import MAX_BYTES, process_cache
from stepgraph.temporal.storage import read_only_converter, uses_storage, with_missing_storage_errors
from stepgraph_activities import activities_for
from stepgraph_workflows import workflow_for

HEARTBEAT_THROTTLE = timedelta(seconds=1)
"""The longest time for which the SDK holds back a heartbeat. Its default is most of the heartbeat timeout; super-steps
that a worker finished in that time would run again if it crashed."""

NODE_THREADS = 100
"""How many nodes that are not async may run at once: the SDK's default limit of concurrent activities."""


class GraphPlugin(SimplePlugin):
    """Adds graphs to a worker: their workflow and their nodes' activities.

    Args:
        graphs: the compiled graphs to serve. No two may have the same name.

    Raises:
        GraphDefinitionError: there is no graph, an item is not a compiled graph, or two have the same name. Raised by
            the worker if it is given a second `GraphPlugin`.
        StepgraphError: raised by the worker if a setting of stepgraph's has an invalid value.

    Examples:
        >>> from temporalio.worker import Worker
        >>> worker = Worker(client, task_queue="mine", plugins=[GraphPlugin([research])])  # doctest: +SKIP

    The plugin registers a dynamic workflow and a dynamic activity. A worker can have only one of each.
    """

    def __init__(self, graphs: Iterable[GraphRegistry | HasRegistry]) -> None:
        self.graphs = _registries_by_name(graphs)
        self.executor = ThreadPoolExecutor(NODE_THREADS, thread_name_prefix="stepgraph-node")
        self._workflow: Any = workflow_for({name: graph.spec for name, graph in self.graphs.items()})
        super().__init__(
            "stepgraph.GraphPlugin",
            workflows=[self._workflow],
            activities=activities_for(
                self.graphs, self.executor, query=query_run_or_replay, open_store=process_store.open
            ),
            workflow_runner=_with_stepgraph_outside_sandbox,
        )

    def serve(self, graph: GraphRegistry) -> None:
        """Serve a graph from now on, also while the worker runs; it replaces the one of that name.

        Nodes that are running finish with the code that they began with. Call it on the worker's event loop.
        """
        self.graphs[graph.name] = graph
        self._workflow.specs = {name: served.spec for name, served in self.graphs.items()}

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add the graphs to a worker's configuration. The SDK calls this when the worker is made."""
        self._refuse_second_plugin(config.get("workflows", []))
        run_settings()  # a wrong one would fail the opening of each run, again and again
        quiet_sdk()
        config["client"] = with_missing_storage_errors(config["client"])
        self._workflow.uses_external_storage = uses_storage(config["client"])
        process_cache.resize(int(number_setting("STEPGRAPH_STATE_CACHE_BYTES", MAX_BYTES)))
        config = super().configure_worker(config)
        config["max_heartbeat_throttle_interval"] = min(
            config.get("max_heartbeat_throttle_interval", HEARTBEAT_THROTTLE), HEARTBEAT_THROTTLE
        )
        return config

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Add the graphs to a replayer's configuration, with external storage that is only read."""
        self._refuse_second_plugin(config.get("workflows", []))
        converter = config.get("data_converter") or DataConverter.default
        config["data_converter"] = read_only_converter(converter)
        if converter.external_storage is not None:
            config["debug_mode"] = True  # switches off the SDK's limit of 2 seconds: see `run_worker`
        return super().configure_replayer(config)

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker. Before, registers the search attributes if the server allows it."""
        # No code of a graph runs in a workflow, but to commit a state of 50 MB, or the results of 20,000 tasks, takes
        # longer than the SDK's limit of 2 seconds.
        seconds = WORKFLOW_TASK_SECONDS if uses_storage(worker.client) else DEFAULT_WORKFLOW_TASK_SECONDS
        sdk_internals.set_deadlock_timeout(worker, seconds)
        await register(worker.client)
        await super().run_worker(worker, next)

    def _refuse_second_plugin(self, workflows: Iterable[Any]) -> None:
        """Raise `GraphDefinitionError` if the workflows have one of another `GraphPlugin`."""
        for other in workflows:
            if other.__module__ == self._workflow.__module__:
                raise GraphDefinitionError(
                    "A worker takes one GraphPlugin, its client's included, and this one has two: for "
                    f"{_quoted(other.specs)}, and for {_quoted(self.graphs)}. Give all graphs to one: "
                    "GraphPlugin([a, b])."
                )


def _with_stepgraph_outside_sandbox(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Return a workflow runner whose sandbox does not load stepgraph again.

    The user's own workflows run in the sandbox and may import stepgraph; they get the modules loaded outside of it.
    """
    runner = runner or SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    modules = ("stepgraph", "stepgraph_workflows", "stepgraph_activities")
    return replace(runner, restrictions=runner.restrictions.with_passthrough_modules(*modules))


def _registries_by_name(graphs: Iterable[GraphRegistry | HasRegistry]) -> dict[str, GraphRegistry]:
    """Return the graphs' registries by name. Raises `GraphDefinitionError` as `GraphPlugin` does."""
    if not isinstance(graphs, Iterable):
        raise GraphDefinitionError(f"GraphPlugin takes a list of graphs, GraphPlugin([graph]); got {graphs!r}.")
    registries: dict[str, GraphRegistry] = {}
    for graph in graphs:
        registry = graph if isinstance(graph, GraphRegistry) else getattr(graph, "registry", None)
        if not isinstance(registry, GraphRegistry):
            fix = " Compile it first: .compile(name=...)." if hasattr(graph, "compile") else ""
            raise GraphDefinitionError(f"GraphPlugin takes compiled graphs; got {type_name(graph)}.{fix}")
        if registry.name in registries:
            raise GraphDefinitionError(
                f"Two graphs are named {registry.name!r}. Give each a name of its own.", graph=registry.name
            )
        registries[registry.name] = registry
    if not registries:
        raise GraphDefinitionError("GraphPlugin needs at least one graph.")
    return registries


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
