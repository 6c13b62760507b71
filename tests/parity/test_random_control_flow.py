"""Random graphs of commands, sends, joins and deferred nodes: every state and every history is as in LangGraph.

Both sides run in memory. tests/temporal compares the in-memory runner with a server. `CONTROL_FLOW_EXAMPLES` sets how
many threads are drawn.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from stepgraph.testing import MemoryRunner
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, ParityThread
from tests.parity.observations import observe_history, raised
from tests.parity.operations import Operation, answer_by_id, bulk, invoke, replay, resume, update
from tests.parity.random_control_flow import ControlFlow, control_flows

pytestmark = pytest.mark.filterwarnings("ignore::stepgraph.errors.GraphWarning")

EXAMPLES = int(os.environ.get("CONTROL_FLOW_EXAMPLES", "40"))

THREAD = {"configurable": {"thread_id": "t"}}

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes: a message has the graph and all operations anyway."""


class TwoThreads:
    """One thread of a graph in LangGraph, and one in stepgraph."""

    def __init__(self, graph: ControlFlow) -> None:
        self.graph = graph
        self.theirs = ParityThread(LANGGRAPH, graph.build(LANGGRAPH).compile(checkpointer=InMemorySaver()), THREAD)
        self.ours = ParityThread(STEPGRAPH, MemoryRunner(graph.build(STEPGRAPH).compile(name="g")), THREAD)
        self.done: list[str] = []
        self.commanded = False
        """Whether a command has written or led on: a checkpoint of its own in stepgraph, none in LangGraph."""

    async def perform(self, operation: Operation, description: str) -> None:
        """Perform an operation on both threads, and compare what it returns, the values, and what is due then."""
        self.done.append(description)
        theirs, ours = [await outcome(thread, operation) for thread in (self.theirs, self.ours)]
        if self.commanded and ours["next"]:  # LangGraph's snapshot does not list what a command has led to
            ours |= {"next": theirs["next"], "values": theirs["values"]}
        assert ours == theirs, f"{self.graph}: {self.done}"

    async def compare_histories(self) -> None:
        """Compare all checkpoints: steps, values, parents, what was due, and what each task wrote."""
        theirs, ours = [await observe_history(thread) for thread in (self.theirs, self.ours)]
        for checkpoint in (*theirs, *ours):
            del checkpoint["tasks"], checkpoint["source"]
        assert ours == theirs, f"{self.graph}: {self.done}"

    def may_command(self, head: Any) -> bool:
        """Return whether both libraries should treat a command that leads on alike.

        They do not where the input has not been written yet, and where sent tasks are due: LangGraph drops these.
        """
        return head.next != ("__start__",) and not any(task.path[0] == "__pregel_push" for task in head.tasks)

    async def may_sign(self, author: str, at: int | None) -> bool:
        """Return whether both libraries should treat an update alike. They do not in three known cases.

        The input has not been written yet; or the author is due, and the update replaces its task, where others are
        due beside it, or where it is deferred or a join leads to it.
        """
        head = await self.theirs.graph.aget_state(THREAD)
        target = head if at is None else (await self.theirs.history())[::-1][at]
        if author not in [task.name for task in target.tasks]:
            return target.next != ("__start__",)
        kept_due = self.graph.nodes[author].defer or author in {name for _, name in self.graph.joins}
        return not kept_due and len(target.tasks) == 1 and target.tasks[0].path[0] == "__pregel_pull"


async def outcome(thread: ParityThread, operation: Operation) -> dict[str, Any]:
    """Perform an operation; return what it returned or raised, and the head after it.

    While tasks are due, LangGraph's values have what finished ones wrote to the channel with a custom reducer, and ours
    not always: a known difference.
    """
    try:
        returned = await operation(thread)
    except Exception as error:
        returned = raised(error)
    head = await thread.graph.aget_state(thread.config)
    values = dict(head.values)
    if head.next:
        values.pop("last", None)
    if isinstance(returned, dict):
        waiting = sorted(interrupt.value for interrupt in returned.pop("__interrupt__", ()))
        returned = {name: value for name, value in returned.items() if name != "last"}, waiting
    return {"returned": returned, "next": sorted(head.next), "values": values}


@settings(max_examples=EXAMPLES, deadline=None, phases=QUICK)
@given(graph=control_flows(), data=st.data())
def test_operations_on_a_random_graph_give_the_same_checkpoints_as_in_langgraph(graph: ControlFlow, data: Any) -> None:
    """Inputs, commands, answers, updates by hand, several at once, and replays, in any order."""
    kinds = st.sampled_from(["update", "update", "bulk", "replay", "invoke", "resume", "answer", "answer", "command"])
    names = sorted(graph.nodes)

    async def compare() -> None:
        threads = TwoThreads(graph)
        breakpoint = data.draw(st.lists(st.sampled_from(names), max_size=1))
        await threads.perform(invoke({"n": 0, "log": ["in"]}, interrupt_before=breakpoint), f"invoke to {breakpoint}")
        for _ in range(data.draw(st.integers(1, 6))):
            kind, count = data.draw(kinds), len(await threads.theirs.history())
            if threads.commanded and kind in ("update", "bulk", "replay"):
                kind = "resume"  # LangGraph forgets in these what a command wrote
            at = data.draw(st.sampled_from([None, *range(1, count)]))
            author = data.draw(st.sampled_from(names))
            waiting = sorted(each.value for each in (await threads.theirs.graph.aget_state(THREAD)).interrupts)
            if kind == "answer" and waiting:
                answered = waiting if data.draw(st.booleans()) else waiting[:1]
                await threads.perform(answer_by_id(answered), f"answer {answered}")
            elif kind == "command" and threads.may_command(await threads.theirs.graph.aget_state(THREAD)):
                due = (await threads.theirs.graph.aget_state(THREAD)).next
                goto = [
                    name for name in names if not (name in due and graph.nodes[name].defer)
                ]  # LangGraph puts it off
                parts: dict[str, Any] = {"goto": data.draw(st.lists(st.sampled_from(goto), max_size=2)) if goto else []}
                parts |= data.draw(st.sampled_from([{}, {"update": {"log": ["command"]}}]))
                parts |= {"sends": [(author, {"item": 5})]} if data.draw(st.booleans()) else {}
                if any(parts.values()):
                    threads.commanded = True
                    answered = waiting if data.draw(st.booleans()) else []
                    await threads.perform(answer_by_id(answered, **parts), f"answer {answered} and {parts}")
            elif kind == "update" and await threads.may_sign(author, at):
                await threads.perform(update({"log": ["hand"]}, author, at), f"update as {author} at {at}")
            elif kind == "bulk":
                signed = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
                if all([await threads.may_sign(name, None) for name in signed]):
                    await threads.perform(bulk([({"log": [name]}, name) for name in signed]), f"bulk as {signed}")
            elif kind == "replay":
                if (await threads.theirs.history())[::-1][at or 0].metadata["source"] == "loop":
                    await threads.perform(replay(at or 0), f"replay {at or 0}")
            elif kind == "invoke":
                await threads.perform(invoke({"n": 0, "log": ["in"]}), "invoke")
            elif kind == "resume":
                await threads.perform(
                    resume(interrupt_before=data.draw(st.lists(st.sampled_from(names), max_size=1))), "resume"
                )
        if not threads.commanded:
            await threads.compare_histories()

    asyncio.run(compare())
