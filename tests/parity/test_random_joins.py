"""Random graphs with joins: an update or a fork in any source's name goes on as in LangGraph, at every checkpoint.

Both sides run in memory. `JOIN_EXAMPLES` sets how many threads are drawn; half as many
where each is updated at all its checkpoints.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from stepgraph.testing import MemoryRunner
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, ParityThread
from tests.parity.observations import observe_history, raised
from tests.parity.operations import Operation, bulk, fork, invoke, replay, resume, update
from tests.parity.test_random_graphs import THREAD, RandomGraph

EXAMPLES = int(os.environ.get("JOIN_EXAMPLES", "25"))

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes: a message has the graph and all operations anyway."""


@st.composite
def graphs_with_joins(draw: st.DrawFn) -> RandomGraph:
    """Draw four to six nodes with one to three joins. Edges and joins lead forward; a router may lead back."""
    names = list("abcdef")[: draw(st.integers(4, 6))]
    graph = RandomGraph({name: draw(st.sampled_from(["writes", "writes", "writes nothing"])) for name in names})
    for _ in range(draw(st.integers(1, 3))):
        sources = sorted(draw(st.sets(st.sampled_from(names[:-1]), min_size=2, max_size=min(3, len(names) - 1))))
        target = draw(st.sampled_from(names[names.index(sources[-1]) + 1 :]))
        if (sources, target) not in graph.joins:
            graph.joins.append((sources, target))
    for position, name in enumerate(names[:-1]):
        for target in draw(st.sets(st.sampled_from(names[position + 1 :]), max_size=2)):
            graph.edges.add((name, target))
    if draw(st.booleans()):
        looping = draw(st.sampled_from(names[1:]))
        graph.kinds[looping] = "writes"  # every round of the loop adds to the log
        graph.routers[looping] = [[draw(st.sampled_from(names[: names.index(looping) + 1]))]]
    reachable = {target for _, target in (*graph.edges, *graph.joins)}
    leading = {source for source, _ in graph.edges} | {source for sources, _ in graph.joins for source in sources}
    graph.edges |= {("START", name) for name in names if name not in reachable}
    graph.edges |= {(name, "END") for name in names if name not in leading and name not in graph.routers}
    return graph


class TwoThreads:
    """One thread of a graph in LangGraph, and one in stepgraph."""

    def __init__(self, graph: RandomGraph) -> None:
        self.graph = graph
        self.theirs = ParityThread(LANGGRAPH, graph.build(LANGGRAPH).compile(checkpointer=InMemorySaver()), THREAD)
        self.ours = ParityThread(STEPGRAPH, MemoryRunner(graph.build(STEPGRAPH).compile(name="joins")), THREAD)
        self.done: list[str] = []

    async def perform(self, operation: Operation, description: str) -> None:
        """Perform an operation on both threads, and compare what it returns, the values, and what is due then."""
        self.done.append(description)
        theirs, ours = [await _outcome(thread, operation) for thread in (self.theirs, self.ours)]
        assert ours == theirs, f"{self.graph}: {self.done}"

    async def lineages(self) -> None:
        """Compare the steps, values, parents and `next` of all checkpoints. LangGraph has no source for a fork."""
        theirs, ours = [await observe_history(thread) for thread in (self.theirs, self.ours)]
        for checkpoint in (*theirs, *ours):
            del checkpoint["tasks"], checkpoint["writes"], checkpoint["source"]
        assert ours == theirs, f"{self.graph}: {self.done}"

    async def may_sign(self, author: str, at: int | None) -> bool:
        """Return whether both libraries should treat an update alike. They do not in three known cases.

        The update is in the name of a join's target that is due, it gives one of several tasks at the head its result,
        or the input has not been written yet.
        """
        head = await self.theirs.graph.aget_state(self.theirs.config)
        target = head if at is None else (await self.theirs.history())[::-1][at]
        if author not in target.next:
            return target.next != ("__start__",)
        is_head = target.config["configurable"]["checkpoint_id"] == head.config["configurable"]["checkpoint_id"]
        return author not in {name for _, name in self.graph.joins} and not (is_head and len(target.tasks) > 1)


async def _outcome(thread: ParityThread, operation: Operation) -> dict[str, Any]:
    """Perform an operation; return what it returned or raised, and the head after it."""
    try:
        returned = await operation(thread)
    except Exception as error:
        returned = raised(error)
    head = await thread.graph.aget_state(thread.config)
    return {"returned": returned, "next": tuple(sorted(head.next)), "values": head.values}


@settings(max_examples=max(1, EXAMPLES // 2), deadline=None, phases=QUICK)
@given(graph=graphs_with_joins(), forks=st.booleans())
def test_an_update_as_any_source_of_a_join_goes_on_as_in_langgraph(graph: RandomGraph, forks: bool) -> None:
    """For each source and each checkpoint of a run: what is due after an update, and all that runs then."""

    async def compare() -> None:
        count = at = 1
        while at <= count:  # the first thread tells how many checkpoints there are
            threads = TwoThreads(graph)
            await threads.perform(invoke({"n": 0, "log": ["in"]}), "invoke")
            count = len(await threads.theirs.history()) - 1
            for source in sorted({source for sources, _ in graph.joins for source in sources}):
                if await threads.may_sign(source, at):
                    if forks:
                        await threads.perform(fork({"log": ["hand"]}, source, at), f"fork as {source} at {at}")
                    else:
                        await threads.perform(update({"log": ["hand"]}, source, at), f"update as {source} at {at}")
                        await threads.perform(resume(), "resume")
            await threads.lineages()
            at += 1

    asyncio.run(compare())


@settings(max_examples=EXAMPLES, deadline=None, phases=QUICK)
@given(graph=graphs_with_joins(), data=st.data())
def test_operations_around_joins_give_the_same_checkpoints_as_in_langgraph(graph: RandomGraph, data: Any) -> None:
    """Updates by any node, by several at once, forks, replays, inputs and breakpoints, in any order."""
    kinds = st.sampled_from(["update", "update", "update", "bulk", "fork", "replay", "invoke", "resume"])
    authors, names = st.sampled_from(sorted(graph.kinds)), sorted(graph.kinds)

    async def compare() -> None:
        threads = TwoThreads(graph)
        breakpoint = data.draw(st.lists(st.sampled_from(names), max_size=1))
        await threads.perform(invoke({"n": 0, "log": ["in"]}, interrupt_before=breakpoint), f"invoke to {breakpoint}")
        for _ in range(data.draw(st.integers(1, 6))):
            kind, count = data.draw(kinds), len(await threads.theirs.history())
            at = data.draw(st.sampled_from([None, *range(1, count)]))
            author, breakpoint = data.draw(authors), data.draw(st.lists(st.sampled_from(names), max_size=1))
            if kind == "fork" and (await threads.theirs.graph.aget_state(THREAD)).next:
                kind = (
                    "update"  # a fork of a paused thread keeps the breakpoints of its invoke, which LangGraph has not
                )
            if kind in ("update", "fork") and await threads.may_sign(author, at):
                operation = (update if kind == "update" else fork)({"log": ["hand"]}, author, at)
                await threads.perform(operation, f"{kind} as {author} at {at}")
            elif kind == "bulk":
                signed = data.draw(st.lists(authors, min_size=2, max_size=3, unique=True))
                if all([await threads.may_sign(name, None) for name in signed]):
                    await threads.perform(bulk([({"log": [name]}, name) for name in signed]), f"bulk as {signed}")
            elif kind == "replay" and (await threads.theirs.history())[::-1][at or 0].metadata["source"] == "loop":
                await threads.perform(replay(at or 0), f"replay {at or 0}")
            elif kind == "invoke":
                options = {"interrupt_before": breakpoint}
                await threads.perform(invoke({"n": 0, "log": ["in"]}, **options), f"invoke to {breakpoint}")
            elif kind == "resume":
                await threads.perform(resume(interrupt_before=breakpoint), f"resume to {breakpoint}")
        await threads.lineages()

    asyncio.run(compare())
