"""One thread that a deployment meets: what its user does, and what must be true whatever the change is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import StrEnum
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.worker import Replayer

from stepgraph import Command, GraphClient, StateSnapshot
from stepgraph.client.thread_reader import read_history
from stepgraph.errors import StepgraphError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.snapshot import snapshot_from
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.deployments.changes import ERRORS, Change, Mend, Outcome, State, Stop
from tests.temporal.deployments.gate import ENTERED

History = list[StateSnapshot]

WORKFLOW_TASK_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED

ALL: dict[str, Any] = {"filter": None, "before": None, "limit": None}
"""The arguments of `read_history` for all checkpoints."""

BEFORE_THE_NODE = (Stop.TYPE, Stop.NODE, Stop.ROUTER)
"""The kinds of stops at which the node has not been called."""


class Way(StrEnum):
    """What a thread's user does after the deployment."""

    GO_ON = "go on"
    FORK = "fork"
    """Fork and update a waiting thread while its run is open, and then go on."""


class Trial:
    """One thread, from its beginning under the first version of the code to its end under the mended one.

    Args:
        stage: the client and the task queue.
        change: the change that is deployed.
        state: what the thread does meanwhile.
        way: what the user of a waiting thread does.
        graphs: the graph of each version; the last one is the mended code, or the second version again.
    """

    def __init__(self, stage: Stage, change: Change, state: State, way: Way, graphs: Sequence[CompiledGraph]) -> None:
        self.change, self.state, self.way = change, state, way
        self.error: BaseException | None = None
        """What the trial found to be wrong."""
        self.message = ""
        """The message of the error with which the thread stopped."""
        self._stage, self._graphs = stage, graphs
        self._config = stage.thread()
        self.thread_id: str = self._config["configurable"]["thread_id"]
        self._reader = GraphClient(stage.client, change.name, task_queue=stage.task_queue)
        self._clients = [
            GraphClient(stage.client, change.name, task_queue=stage.task_queue, schema=graph.registry.schema)
            for graph in graphs
        ]
        self._note = "again" if state is State.CLOSED else "begin"
        self._before: History = []

    @property
    def outcome(self) -> Outcome:
        """What must become of the thread."""
        if self.way is Way.FORK and self.change.fork_while_waiting is not None:
            return self.change.fork_while_waiting
        return self.change.outcome(self.state)

    async def begin(self) -> None:
        """Bring the thread into its state, under the first version."""
        values = {"note": "begin", **self.change.input}
        run = await self._clients[0].astart(values, self._until(self.state))
        if self.state is State.RUNNING:
            await eventually(lambda: self.thread_id in ENTERED)
            if self._graphs[0].registry.spec.durability == "sync":  # otherwise nothing of it is recorded yet
                only_gated_is_due: Callable[[], bool | Awaitable[bool]] = self._only_gated_is_due
                await eventually(only_gated_is_due)
        elif self.state is State.FAILED:
            with pytest.raises(StepgraphError, match="the service is away"):
                await run.result()
        else:
            assert ("__interrupt__" in await run.result()) == (self.state is State.WAITING)
        if self.state is State.CLOSED:
            await self._pass_breakpoint(self._clients[0], self.change.before_pauses_at)
        self._before = await self._history()

    async def read_as_left(self) -> None:
        """Read the thread as the first version left it, while there is no worker."""
        if self.way is Way.GO_ON:  # it makes no difference yet
            assert await self._history() == self._before

    async def go_on(self) -> None:
        """Do what the thread's user does, under the second version; mend it if that needs no other code."""
        client, outcome = self._clients[1], self.outcome
        if self.way is Way.GO_ON:
            await self._check_stop(outcome, self._act(client))
        elif outcome.mend is Mend.WRITE:  # it is mended before it could stop
            await self._fork_and_update(client, outcome.write, as_node="human")
            await self._act(client)
            await self._ends_with(outcome)
            return
        elif outcome.stop in BEFORE_THE_NODE:  # it does not wait again
            await self._check_stop(outcome, client.afork(self._at_old_checkpoint()))
        else:
            await self._fork_and_update(client)
            await self._check_stop(outcome, self._act(client))
        if outcome.stop is Stop.TYPE:  # every reader shows what it cannot decode, and says so
            errors = (await client.aget_state(self._config)).errors
            assert any(outcome.words[0] in error for error in errors)
        if outcome.mend is not Mend.DEPLOY:
            await self._mend(client)

    async def go_on_with_mended_code(self) -> None:
        """Resume the thread once the mended code is deployed."""
        if self.outcome.mend is Mend.DEPLOY:
            await self._mend(self._clients[-1])

    async def look_back(self) -> None:
        """Update and fork a closed thread. The code at hand reads the head of every thread."""
        if self.state is State.CLOSED:
            before = (await self._reader.aget_state(self._config)).values
            await self._clients[-1].aupdate_state(self._config, {"note": "written"}, as_node="human")
            assert (await self._reader.aget_state(self._config)).values == {**before, "note": "written"}
            await self._fork()
        head = await self._clients[-1].aget_state(self._config)
        assert (head.next, head.errors) == ((), ())

    async def read_alone(self, replays: Replayer) -> None:
        """Read the thread while there is no worker. Every reader finds the past as it was before the deployment.

        The reading replays all runs without the graph's code. The first one is also replayed with the new code. No
        workflow task of any run has failed.
        """
        data = [each async for each in read_history(self._stage.client, self.thread_id, **ALL)]
        same_past(self._before, [snapshot_from(each) for each in data])
        old = {each.checkpoint_id for each in self._before}
        for graph in self._graphs:
            decoded = [snapshot_from(each, graph.registry.schema.channels) for each in data]
            assert [each.config for each in decoded] == [each["config"] for each in data]
            if graph is self._graphs[0]:
                assert [each.errors for each in decoded if each.checkpoint_id in old and each.errors] == []
        for run in await self._stage.runs(self.thread_id):
            history = await self._stage.history(run)
            assert [event for event in history.events if event.event_type == WORKFLOW_TASK_FAILED] == []
        await replays.replay_workflow(history)

    def _until(self, state: State) -> dict[str, Any]:
        return {"configurable": {"thread_id": self.thread_id, "until": state.value}}

    def _at_old_checkpoint(self) -> dict[str, Any]:
        """Return the config of the checkpoint from before the deployment at which the node that holds is due."""
        unfinished = [each for each in self._before if each.next]
        old = next((each for each in unfinished if self.change.before.gated in each.next), unfinished[0])
        config = self._until(State.CLOSED)
        config["configurable"]["checkpoint_id"] = old.checkpoint_id
        return config

    async def _act(self, client: GraphClient) -> None:
        """Do what lets a thread in this state go on, and wait until it is idle."""
        config = self._until(self.state)
        if self.state is State.RUNNING:
            run = await client.aget_run(config)
            assert run is not None
            await run.result()
        elif self.state is State.WAITING:
            await client.ainvoke(Command(resume="yes"), config)
        elif self.state is State.FAILED:
            await client.ainvoke(None, config)
        else:
            await client.ainvoke({"note": "again", **self.change.again}, config)

    async def _fork_and_update(self, client: GraphClient, *write: Any, **author: Any) -> None:
        """Fork the open run of a waiting thread, which then waits again, and update it."""
        await client.afork(self._at_old_checkpoint(), *write, **author)
        await client.aupdate_state(self._config, {"note": "by hand"}, as_node="human")
        self._note = "by hand"

    async def _check_stop(self, outcome: Outcome, act: Coroutine[Any, Any, Any]) -> None:
        """Do something. Check that the thread stops with the right error, or does not stop."""
        if outcome.stop is None:
            await act
            return
        with pytest.raises(StepgraphError) as caught:
            await act
        self.message = str(caught.value)
        assert all(isinstance(caught.value, cls) for cls in ERRORS[outcome.stop])
        for word in outcome.words:
            assert word in self.message

    async def _mend(self, client: GraphClient) -> None:
        """Mend the thread if it has stopped, and check what it ends with."""
        outcome, config = self.outcome, self._until(State.CLOSED if self.way is Way.FORK else self.state)
        if outcome.mend is Mend.WRITE:
            await client.aupdate_state(config, outcome.write, as_node="human")
        elif outcome.mend is Mend.PLAN:
            await client.aupdate_state(config, None, as_node=outcome.plan_after)
        if outcome.mend is not None:
            await client.ainvoke(None, config)
        await self._ends_with(outcome)

    async def _fork(self) -> None:
        """Run again from a checkpoint from before the deployment, and mend what stops."""
        client, outcome, config = self._clients[-1], self.change.outcome_of_fork, self._at_old_checkpoint()
        if outcome.mend is Mend.WRITE:
            await client.afork(config, outcome.write, as_node="human")
        elif outcome.mend is Mend.PLAN:
            await client.afork(config, None, as_node=outcome.plan_after)
        elif outcome.mend is Mend.RESUME:
            await self._check_stop(outcome, client.afork(config))
            await client.ainvoke(None, self._until(State.CLOSED))
        else:
            await client.afork(config)
        self._note = "begin"
        await self._ends_with(outcome)

    async def _ends_with(self, outcome: Outcome) -> None:
        """Check that the graph has finished, with these values, after the pause that the outcome has."""
        await self._pass_breakpoint(self._clients[1], outcome.pauses_at)
        state = await self._reader.aget_state(self._config)
        assert (state.values, state.next) == ({"note": self._note, **outcome.values}, ())

    async def _pass_breakpoint(self, client: GraphClient, node: str | None) -> None:
        """Go on from a breakpoint before a node, if there is to be one."""
        if node is not None:
            assert (await self._reader.aget_state(self._config)).next == (node,)
            await client.ainvoke(None, self._config)

    async def _only_gated_is_due(self) -> bool:
        return (await self._reader.aget_state(self._config)).next == (self.change.before.gated,)

    async def _history(self) -> History:
        """Return all checkpoints as JSON data."""
        return [snapshot async for snapshot in self._reader.aget_state_history(self._config)]


def same_past(before: History, after: History) -> None:
    """Check that every checkpoint of a history is in a later one unchanged. Only the head's tasks may have gone on."""
    later = {each.checkpoint_id: each for each in after}
    for number, old in enumerate(before):
        new = later[old.checkpoint_id]
        if number == 0:
            assert [(task.id, task.name) for task in new.tasks] == [(task.id, task.name) for task in old.tasks]
            new = new._replace(tasks=old.tasks, interrupts=old.interrupts)
        assert new == old
