"""The graphs under attack: a node that does what its input says, a question, and a last node.

There are four, of one shape: with and without fused super-steps, with functions that are async and that are not.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from operator import add
from typing import Annotated, Any, TypedDict

from stepgraph import END, START, StateGraph, interrupt
from stepgraph.engine.spec import Durability
from stepgraph.graph.compiled import CompiledGraph
from tests.attack.behaviours import BEHAVIOURS

WORK_SECONDS = 0.3
"""How long the node ``work`` of a running thread takes."""

worked: Counter[str] = Counter()
"""How often the node ``work`` has begun, by idempotency key."""

mended: set[str] = set()
"""The threads whose node ``work`` fails no more."""


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    do: str
    any: Any
    count: int


def work(state: State, config: dict[str, Any]) -> Any:
    """Do what the input says: nothing, wait, fail, or behave as no node should."""
    worked[config["metadata"]["idempotency_key"]] += 1
    do = state.get("do", "ask")
    if do == "run":
        time.sleep(WORK_SECONDS)
    if do == "fail" and config["configurable"]["thread_id"] not in mended:
        raise ConnectionError("no route")
    return BEHAVIOURS[do](state, config) if do in BEHAVIOURS else None


async def work_async(state: State, config: dict[str, Any]) -> Any:
    if state.get("do") == "run":
        await asyncio.sleep(WORK_SECONDS)
        state = {**state, "do": "ask"}
    return work(state, config)


def ask(state: State) -> Any:
    """Have an interrupt, unless the input says that the thread goes on to its end."""
    return {"any": interrupt("go on?")} if state.get("do", "ask") == "ask" else None


def last(state: State) -> Any:
    return {"count": 1}


def attacked(kind: str) -> CompiledGraph:
    """Return a graph of one of the `KINDS`."""
    durability, function = kind.split("-")
    builder = StateGraph(State)
    builder.add_node("work", work_async if function == "async" else work).add_node(ask).add_node(last)
    builder.add_edge(START, "work").add_edge("work", "ask").add_edge("ask", "last").add_edge("last", END)
    wanted: Durability = "async" if durability == "fused" else "sync"
    return builder.compile(name=f"attacked-{kind}", durability=wanted)


KINDS = ("sync-thread", "sync-async", "fused-thread", "fused-async")

GRAPHS = {kind: attacked(kind) for kind in KINDS}

plain = GRAPHS["sync-thread"]
"""One of them, for commands that take a graph by its address."""
