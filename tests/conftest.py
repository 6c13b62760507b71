"""What tests share: a real Temporal server, a stage to play scenes on, and the replay of every history they made."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from stepgraph import GraphClient, GraphPlugin
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting._server_keeper import TUNING
from stepgraph.temporal.executions import Run, latest_run, start_options

ROOT = Path(__file__).parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have pytest-xdist run a file's tests in one process, where they share the fixtures of their module."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def temporal_binary() -> str | None:
    """The Temporal CLI that the `embedded` extra installs; without it, the SDK fetches one of its own."""
    return shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")


@asynccontextmanager
async def dev_server(*options: str) -> AsyncIterator[WorkflowEnvironment]:
    """A real development server with the settings of the embedded one; ``options`` are more of its command line."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(),
        dev_server_log_level="error",
        dev_server_extra_args=[*TUNING, *options],
    )
    async with environment:
        yield environment


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """A real server for the whole session."""
    async with dev_server() as environment:
        yield environment


class Stage:
    """A place for one test: a task queue nobody else uses, and threads whose histories are replayed at the end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.task_queue = f"test-{uuid.uuid4().hex[:12]}"
        self.graphs: dict[str, CompiledGraph] = {}
        self.threads: list[str] = []

    def thread(self, **more: Any) -> dict[str, Any]:
        """The config of a new thread; keywords go beside ``configurable``."""
        thread_id = f"thread-{uuid.uuid4().hex[:12]}"
        self.threads.append(thread_id)
        return {"configurable": {"thread_id": thread_id}, **more}

    def use(self, graph: CompiledGraph) -> GraphClient:
        """A client with the graph's code."""
        self.graphs[graph.name] = graph
        return GraphClient(self.client, graph.name, task_queue=self.task_queue, schema=graph.registry.schema)

    @asynccontextmanager
    async def serving(self, *graphs: CompiledGraph, **options: Any) -> AsyncIterator[Worker]:
        """A worker for the graphs."""
        self.graphs.update({graph.name: graph for graph in graphs})
        async with Worker(self.client, task_queue=self.task_queue, plugins=[GraphPlugin(graphs)], **options) as worker:
            yield worker

    async def runs(self, thread_id: str) -> list[Run]:
        """A thread's runs, newest first, as each names the one before it."""
        found = []
        run = await latest_run(self.client, thread_id)
        while run is not None:
            found.append(run)
            after = (await start_options(self.client, run)).after
            run = await latest_run(self.client, thread_id, after) if after else None
        return found

    async def history(self, run: Run) -> WorkflowHistory:
        """The events of a run."""
        return await self.client.get_workflow_handle(run.thread_id, run_id=run.run_id).fetch_history()

    async def replay(self) -> int:
        """Replays the histories of all threads with the code as it is; how many there were."""
        if not self.graphs:
            return 0
        plugin = GraphPlugin(list(self.graphs.values()))
        replayer = Replayer(workflows=[], plugins=[plugin], data_converter=self.client.data_converter)
        count = 0
        for thread_id in self.threads:
            for run in await self.runs(thread_id):
                await replayer.replay_workflow(await self.history(run))
                count += 1
        return count


@pytest.fixture
async def stage(server: WorkflowEnvironment) -> AsyncIterator[Stage]:
    """A stage; what was played on it is replayed when the test is done."""
    stage = Stage(server.client)
    yield stage
    await stage.replay()
