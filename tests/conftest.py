"""What tests share: a real Temporal server, a `Stage` with workers and clients, and the replay of every history."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from stepgraph import GraphClient, GraphPlugin
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting._server_keeper import TUNING
from stepgraph.temporal.executions import Run, latest_run, start_options
from tests.patience import PATIENCE, eventually

ROOT = Path(__file__).parent.parent


EMBEDS = "localhost:7233"
"""The group of tests whose processes embed a server, or look for one on localhost:7233: never two at once."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, and group them for pytest-xdist.

    The tests of a file that need a server run in one process, where they share the fixtures of their module.
    """
    for item in items:
        group = item.get_closest_marker("xdist_group")
        embeds = group is not None and EMBEDS in group.args
        if embeds or item.path.parent.name == "temporal" or "server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        if group is None and item.get_closest_marker("server") is not None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def temporal_binary() -> str | None:
    """Return the path of the Temporal CLI of the `embedded` extra. If it is `None`, the SDK downloads one."""
    return shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")


@asynccontextmanager
async def dev_server(*options: str) -> AsyncIterator[WorkflowEnvironment]:
    """Start a development server with the settings of the embedded server; ``options`` extend its command line."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(),
        dev_server_log_level="error",
        dev_server_extra_args=[*TUNING, *options],
        dev_server_startup_timeout=timedelta(seconds=PATIENCE),
    )
    async with environment:
        yield environment


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """The development server that most tests of a session share."""
    async with dev_server() as environment:
        yield environment


async def has_poller(client: Client, task_queue: str) -> bool:
    """Return whether a worker polls the task queue for workflow tasks, or did so within the last minutes."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    return bool((await client.workflow_service.describe_task_queue(request)).pollers)


def replayer(client: Client, graphs: Iterable[CompiledGraph]) -> Replayer:
    """Return a replayer for runs of the graphs.

    Debug mode turns off the SDK's limit of 2 seconds for a workflow task, which a busy machine may exceed. With
    external storage, the plugin itself has to turn it on.
    """
    converter = client.data_converter
    return Replayer(
        workflows=[],
        plugins=[GraphPlugin(list(graphs))],
        data_converter=converter,
        debug_mode=converter.external_storage is None,
    )


class Stage:
    """What one test works with: a client, a task queue of its own, and threads whose histories can be replayed."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.task_queue = f"test-{uuid.uuid4().hex[:12]}"
        self.graphs: dict[str, CompiledGraph] = {}
        self.threads: list[str] = []
        self.worker_options: dict[str, Any] = {}
        """Options of every worker that `serving` starts."""

    def thread(self, **options: Any) -> dict[str, Any]:
        """Return the config of a new thread; the options go beside ``configurable``."""
        thread_id = f"thread-{uuid.uuid4().hex[:12]}"
        self.threads.append(thread_id)
        return {"configurable": {"thread_id": thread_id}, **options}

    def use(self, graph: CompiledGraph) -> GraphClient:
        """Return a client that has the graph's state schema."""
        self.graphs[graph.name] = graph
        return GraphClient(self.client, graph.name, task_queue=self.task_queue, schema=graph.registry.schema)

    @asynccontextmanager
    async def serving(self, *graphs: CompiledGraph, **options: Any) -> AsyncIterator[Worker]:
        """Run a worker for the graphs. It polls by the time the block begins, so a client finds it at once."""
        self.graphs.update({graph.name: graph for graph in graphs})
        options = {**self.worker_options, **options}
        async with Worker(self.client, task_queue=self.task_queue, plugins=[GraphPlugin(graphs)], **options) as worker:
            await eventually(lambda: has_poller(self.client, self.task_queue))
            yield worker

    async def runs(self, thread_id: str) -> list[Run]:
        """Return a thread's runs, newest first. Each run names the one before it in its options."""
        runs = []
        run = await latest_run(self.client, thread_id)
        while run is not None:
            runs.append(run)
            after = (await start_options(self.client, run)).after
            run = await latest_run(self.client, thread_id, after) if after else None
        return runs

    async def history(self, run: Run) -> WorkflowHistory:
        """Return the events of a run."""
        return await self.client.get_workflow_handle(run.thread_id, run_id=run.run_id).fetch_history()

    async def accepted_updates(self, thread_id: str, run_id: str | None = None) -> list[str]:
        """Return the names of the updates that a run has accepted; of the thread's latest run by default."""
        handle = self.client.get_workflow_handle(thread_id, run_id=run_id)
        return [
            event.workflow_execution_update_accepted_event_attributes.accepted_request.input.name
            for event in (await handle.fetch_history()).events
            if event.HasField("workflow_execution_update_accepted_event_attributes")
        ]

    async def replay(self) -> int:
        """Replay the histories of all threads with the current code. Return how many runs there were."""
        if not self.graphs:
            return 0
        replays = replayer(self.client, self.graphs.values())
        count = 0
        for thread_id in self.threads:
            for run in await self.runs(thread_id):
                await replays.replay_workflow(await self.history(run))
                count += 1
        return count


@pytest.fixture
async def stage(server: WorkflowEnvironment) -> AsyncIterator[Stage]:
    """A stage whose histories are replayed when the test has ended."""
    stage = Stage(server.client)
    yield stage
    await stage.replay()
