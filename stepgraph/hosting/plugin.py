"""`GraphPlugin`: graphs in someone's own Temporal `Worker`."""

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

from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.registry import GraphRegistry, HasRegistry
from stepgraph.execution.state_cache import MAX_BYTES, states
from stepgraph.protocol.names import WORKFLOW_TASK_SECONDS
from stepgraph.serde.error_text import type_name
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.logs import quiet_sdk
from stepgraph.temporal.search_attributes import register
from stepgraph.temporal.settings import number
from stepgraph.temporal.storage import no_storage, read_only_storage, uses_storage, with_storage_errors
from stepgraph_activities import activities_for
from stepgraph_workflows import workflow_for

HEARTBEAT_THROTTLE = timedelta(seconds=1)
"""How often progress reaches the server at the most. The SDK's own default would hold it back for most of a heartbeat
timeout, and super-steps that a crashed worker had run would be run again."""

NODE_THREADS = 100
"""How many nodes that are not async may run at once: as many as the SDK lets a worker run activities by default."""


class GraphPlugin(SimplePlugin):
    """Adds graphs to a worker: their workflow and their nodes' activities.

    Args:
        graphs: the compiled graphs to serve; each needs a name of its own.

    Raises:
        GraphDefinitionError: no graph, something that is none, or two of one name; a second plugin for a worker.

    Example:
        >>> from temporalio.worker import Worker
        >>> worker = Worker(client, task_queue="mine", plugins=[GraphPlugin([research])])  # doctest: +SKIP

    The plugin brings a dynamic workflow and a dynamic activity, of which a worker can have one each.
    """

    def __init__(self, graphs: Iterable[GraphRegistry | HasRegistry]) -> None:
        self.graphs = _by_name(graphs)
        self.executor = ThreadPoolExecutor(NODE_THREADS, thread_name_prefix="stepgraph-node")
        self._workflow: Any = workflow_for(self.graphs)
        super().__init__(
            "stepgraph.GraphPlugin",
            workflows=[self._workflow],
            activities=activities_for(self.graphs, self.executor),
            workflow_runner=_with_stepgraph_passed_through,
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Adds the graphs to a worker that has none yet."""
        self._make_sure_it_is_alone(config.get("workflows", []))
        quiet_sdk()
        config["client"] = with_storage_errors(config["client"])
        self._workflow.uses_external_storage = uses_storage(config["client"])
        states.resize(int(number("STEPGRAPH_STATE_CACHE_BYTES", MAX_BYTES)))
        config = super().configure_worker(config)
        config["max_heartbeat_throttle_interval"] = min(
            config.get("max_heartbeat_throttle_interval", HEARTBEAT_THROTTLE), HEARTBEAT_THROTTLE
        )
        return config

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """The same for a replayer."""
        self._make_sure_it_is_alone(config.get("workflows", []))
        converter = config.get("data_converter") or DataConverter.default
        if converter.external_storage is None:
            config["data_converter"] = replace(converter, external_storage=no_storage())
        else:
            config["data_converter"] = replace(
                converter, external_storage=read_only_storage(converter.external_storage)
            )
            config["debug_mode"] = True  # without the SDK's limit of 2 seconds: see `run_worker`
        return super().configure_replayer(config)

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Runs the worker, with the search attributes registered where that is allowed."""
        if uses_storage(worker.client):  # committing a state of 50 MB takes longer than the default of 2 seconds
            sdk_internals.set_deadlock_timeout(worker, WORKFLOW_TASK_SECONDS)
        await register(worker.client)
        await super().run_worker(worker, next)

    def _make_sure_it_is_alone(self, workflows: Iterable[Any]) -> None:
        for other in workflows:
            if other.__module__ == self._workflow.__module__:
                raise GraphDefinitionError(
                    "A worker takes one GraphPlugin, its client's included, and this one has two: for "
                    f"{_names(other.registries)}, and for {_names(self.graphs)}. Give all graphs to one: "
                    "GraphPlugin([a, b])."
                )


def _with_stepgraph_passed_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Lets someone's own workflows, which run in the SDK's sandbox, import `stepgraph`: it is loaded once, outside."""
    runner = runner or SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    passed = runner.restrictions.with_passthrough_modules("stepgraph", "stepgraph_workflows", "stepgraph_activities")
    return replace(runner, restrictions=passed)


def _by_name(graphs: Iterable[GraphRegistry | HasRegistry]) -> dict[str, GraphRegistry]:
    if not isinstance(graphs, Iterable):
        raise GraphDefinitionError(f"GraphPlugin takes a list of graphs, GraphPlugin([graph]); got {graphs!r}.")
    found: dict[str, GraphRegistry] = {}
    for graph in graphs:
        registry = graph if isinstance(graph, GraphRegistry) else getattr(graph, "registry", None)
        if not isinstance(registry, GraphRegistry):
            mend = " Compile it first: .compile(name=...)." if hasattr(graph, "compile") else ""
            raise GraphDefinitionError(f"GraphPlugin takes compiled graphs; got {type_name(graph)}.{mend}")
        if registry.name in found:
            raise GraphDefinitionError(
                f"Two graphs are named {registry.name!r}. Give each a name of its own.", graph=registry.name
            )
        found[registry.name] = registry
    if not found:
        raise GraphDefinitionError("GraphPlugin needs at least one graph.")
    return found


def _names(graphs: Iterable[str]) -> str:
    return ", ".join(map(repr, graphs))
