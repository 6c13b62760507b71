"""The Temporal workflow that runs a graph: its loop, its updates, signals and queries, and the start of the next run.

Owns when tasks, commands and continue-as-new take effect. Knows nothing of what a graph means (`stepgraph.engine`) or
of how a node is called (`stepgraph_activities`).

Read in this order: `graph_workflow`, `run_loop`, `phases`, `run_state`, `super_steps`, `task_dispatch`,
`fused_dispatch`. `workflow_for` makes the workflow class of a worker that serves certain graphs. `replay_run` reads a
run without a worker.
"""

from stepgraph_workflows.graph_workflow import workflow_for
from stepgraph_workflows.replayed_run import ReplayedRun, replay_history, replay_run

__all__ = ["ReplayedRun", "replay_history", "replay_run", "workflow_for"]
