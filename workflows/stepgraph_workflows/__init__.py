"""The Temporal workflow that runs a graph: the loop, the queries, the hand-over to the thread's next run.

`workflow_for` makes the workflow class for a worker that serves certain graphs. What happens next is decided by
`stepgraph.engine`; this package awaits it.
"""

from stepgraph_workflows.graph_workflow import workflow_for

__all__ = ["workflow_for"]
