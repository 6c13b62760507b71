"""`GraphPlugin`: graphs in someone's own Temporal `Worker`."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from temporalio.plugin import SimplePlugin

from stepgraph.errors import GraphDefinitionError
from stepgraph_activities import activities_for
from stepgraph_workflows import workflow_for

if TYPE_CHECKING:
    from stepgraph.compiled import CompiledGraph

NODE_THREADS = 100
"""How many nodes that are not async may run at once: as many as the SDK lets a worker run activities by default."""


class GraphPlugin(SimplePlugin):
    """Adds graphs to a worker: their workflow and their nodes' activities.

    Args:
        graphs: the compiled graphs to serve; each needs a name of its own.

    Example:
        >>> from temporalio.worker import Worker
        >>> worker = Worker(client, task_queue="mine", plugins=[GraphPlugin([research])])  # doctest: +SKIP

    The plugin brings a dynamic workflow and a dynamic activity, of which a worker can have one each.
    """

    def __init__(self, graphs: Iterable[CompiledGraph]) -> None:
        given = list(graphs)
        self.graphs = {graph.name: graph.code for graph in given}
        if not given:
            raise GraphDefinitionError("GraphPlugin needs at least one graph.")
        if len(self.graphs) < len(given):
            names = [graph.name for graph in given]
            twice = next(name for name in names if names.count(name) > 1)
            raise GraphDefinitionError(f"Two graphs are named {twice!r}. Give each a name of its own.", graph=twice)
        self.executor = ThreadPoolExecutor(NODE_THREADS, thread_name_prefix="stepgraph-node")
        super().__init__(
            "stepgraph.GraphPlugin",
            workflows=[workflow_for(self.graphs)],
            activities=activities_for(self.graphs, self.executor),
        )
