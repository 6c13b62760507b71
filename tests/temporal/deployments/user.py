"""The user of one thread, for the tests of a few acts beside the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepgraph import GraphClient
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.temporal.deployments.versions import Code, load


class User:
    """The user of one thread: a graph and a client for each version of the code."""

    def __init__(self, stage: Stage, folder: Path, name: str, *codes: Code) -> None:
        self.thread_id: str = stage.thread()["configurable"]["thread_id"]
        self.graphs: list[CompiledGraph] = [
            load(name, code, number, folder) for number, code in enumerate(codes, start=1)
        ]
        self.clients: list[GraphClient] = [stage.use(graph) for graph in self.graphs]
        self.reader = GraphClient(stage.client, name, task_queue=stage.task_queue)
        """A client that has no schema: it reads JSON data."""

    def until(self, state: str) -> dict[str, Any]:
        """Return the config of the thread, whose first version holds in this state."""
        return {"configurable": {"thread_id": self.thread_id, "until": state}}
