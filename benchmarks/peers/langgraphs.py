"""The jobs as LangGraph's graphs, for the peers that run these."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from langgraph.graph import END, START, StateGraph

from benchmarks.jobs import Chat, Count, Job, again, more, more_talk, route, say, step, talk


def builder_of(job: Job, *, blocking: bool = False, **options: Any) -> Any:
    """A ``StateGraph`` that is not compiled yet.

    Args:
        job: what it does.
        blocking: with plain functions as nodes instead of async ones.
        options: those of every node.
    """
    builder: Any = StateGraph(Chat if job.kind == "chat" else Count)
    if job.kind == "chain":
        names = [f"n{number:03d}" for number in range(job.steps)]
        for name in names:
            builder.add_node(name, again if blocking else step, **options)
        for source, target in pairwise([START, *names, END]):
            builder.add_edge(source, target)
        return builder
    node: Any
    router: Any
    node, router = (talk, more_talk) if job.kind == "chat" else (step, more)
    if blocking:
        node, router = (say if job.kind == "chat" else again), route
    builder.add_node("step", node, **options)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", router, {"again": "step", "done": END})
    return builder
