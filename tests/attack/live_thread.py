"""A thread of an attacked graph on a real server, in the situation in which a program finds it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal, get_args

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from stepgraph import GraphClient
from stepgraph.errors import NodeError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import GET_STATE
from stepgraph.temporal.executions import latest_run
from stepgraph.temporal.run_outcome import current_outcome
from tests.attack.graphs import GRAPHS
from tests.conftest import Stage
from tests.patience import eventually

Situation = Literal["new", "waiting", "running", "done", "failed"]

SITUATIONS: tuple[Situation, ...] = get_args(Situation)


class LiveThread:
    """What calls are made on; also the `Scene` that values refer to."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.stage = stage
        self.graph: CompiledGraph = GRAPHS[kind]
        self.client: GraphClient = stage.use(self.graph)
        self.thread_id = f"thread-{uuid.uuid4().hex[:12]}"
        self.marks: list[str] = []
        self.started_by_hand: list[str] = []
        """Run ids: such a run does not record which run came before it."""
        self.checkpoint_id = self.task_id = self.interrupt_id = self.run_id = ""
        self.record: Mapping[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        return {"configurable": {"thread_id": self.thread_id}}

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The thread's latest run."""
        return self.stage.client.get_workflow_handle(self.thread_id)

    def mark(self) -> str:
        self.marks.append(f"mark-{len(self.marks)}-{self.thread_id}")
        return self.marks[-1]

    async def bring_into(self, situation: Situation) -> None:
        """Run the new thread until it is in a situation."""
        if situation == "new":
            return
        do = {"waiting": "ask", "running": "run", "done": "go", "failed": "fail"}[situation]
        input_data = {"do": do, "log": [self.mark()]}
        if situation == "running":
            run = await self.client.astart(input_data, self.config)
            await eventually(lambda: _has_begun(self.stage.client, run.thread_id))
        else:
            try:
                await self.client.ainvoke(input_data, self.config)
            except NodeError:
                assert situation == "failed"
        await self.look()

    async def look(self) -> None:
        """Read what values of later calls refer to."""
        state = await self.client.aget_state(self.config)
        self.checkpoint_id = state.checkpoint_id or "none"
        self.task_id = state.tasks[0].id if state.tasks else "none"
        self.interrupt_id = state.interrupts[0].id if state.interrupts else "none"
        run = await latest_run(self.stage.client, self.thread_id)
        self.run_id = run.run_id if run is not None else "none"
        if run is not None and not run.is_open:
            record = (await current_outcome(self.stage.client, self.thread_id)).record
            self.record = record.model_dump(mode="json") if record is not None else {}

    async def wait_for(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Wait until a run that was started by hand has ended or waits. Raises what it ended with."""

        async def is_idle() -> bool:
            if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                return True
            state = await handle.query(GET_STATE)
            return bool(state and (state["interrupts"] or not state["next"]))

        await eventually(is_idle)
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            await handle.result()

    async def end(self) -> None:
        """Terminate the runs of the thread and of its fork that are still open, so that later programs are as fast."""
        for thread_id in (self.thread_id, f"{self.thread_id}-fork"):
            run = await latest_run(self.stage.client, thread_id)
            if run is not None and run.is_open:
                await self.stage.client.get_workflow_handle(thread_id).terminate("the program has ended")


async def _has_begun(client: Client, thread_id: str) -> bool:
    """Return whether the node ``work`` runs."""
    description = (await client.get_workflow_handle(thread_id).describe()).raw_description
    return any("attacked" in activity.activity_type.name for activity in description.pending_activities)
