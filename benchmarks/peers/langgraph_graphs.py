"""The jobs as LangGraph graphs, for the peers that run these."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from langgraph.graph import END, START, StateGraph

from benchmarks.jobs import (
    ChatState,
    CountState,
    Job,
    chat_router,
    chat_step,
    chat_step_blocking,
    count_router,
    count_step,
    count_step_blocking,
    router_blocking,
)


def build_graph(job: Job, *, blocking: bool = False, **node_options: Any) -> Any:
    """Returns the job as a ``StateGraph`` that is not compiled yet.

    Args:
        job: what the graph does.
        blocking: whether nodes and routers are plain functions instead of async ones.
        node_options: further arguments of ``add_node`` for every node.
    """
    builder: Any = StateGraph(ChatState if job.kind == "chat" else CountState)
    if job.kind == "chain":
        names = [f"n{number:03d}" for number in range(job.steps)]
        for name in names:
            builder.add_node(name, count_step_blocking if blocking else count_step, **node_options)
        for source, target in pairwise([START, *names, END]):
            builder.add_edge(source, target)
        return builder
    node: Any
    router: Any
    if blocking:
        node, router = (chat_step_blocking if job.kind == "chat" else count_step_blocking), router_blocking
    else:
        node, router = (chat_step, chat_router) if job.kind == "chat" else (count_step, count_router)
    builder.add_node("step", node, **node_options)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", router, {"again": "step", "done": END})
    return builder
