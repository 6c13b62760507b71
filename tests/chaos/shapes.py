"""The graphs: chains, fan-outs with joins, loops, interrupts, retries, and loops of fused super-steps.

Each node notes its begin and its end, and logs ``node key``, so the state tells which tasks were committed.
"""

from __future__ import annotations

import os
import random
import time
from operator import add
from typing import Annotated, Any, TypedDict

from stepgraph import END, START, RetryPolicy, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from tests.chaos.ledger import LEDGER, note

HEARTBEAT = "CHAOS_HEARTBEAT_SECONDS"
"""The environment variable with the heartbeat timeout of all nodes; without it, they have the default."""

MOST_SECONDS = 0.4
"""How long a node takes at the most."""

LOOPS = 12
FUSED_LOOPS = 40
BRANCHES = ("left", "middle", "right")


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    turns: Annotated[int, add]


Config = dict[str, Any]


def node(name: str, *, most_seconds: float = MOST_SECONDS, asks: bool = False, fails: bool = False) -> Any:
    """Return a node that notes what it does.

    Args:
        name: its name.
        most_seconds: how long it takes at the most.
        asks: whether it has an interrupt.
        fails: whether it raises once before it finishes.
    """

    def work(state: State, config: Config) -> dict[str, Any]:
        key = config["metadata"]["idempotency_key"]
        answer = [interrupt("go on?")] if asks else []  # raises while there is no answer
        note("begin", key, name)
        time.sleep(random.uniform(0, most_seconds))
        if fails and not _has_raised(key):
            note("raise", key, name)
            raise ConnectionError("the first call fails")
        note("end", key, name)
        return {"log": [*answer, f"{name} {key}"], "turns": 1}

    return work


def _has_raised(key: str) -> bool:
    with open(os.environ[LEDGER]) as ledger:
        return any(line.startswith(f"raise {key} ") for line in ledger)


def _options() -> dict[str, Any]:
    return {"heartbeat_timeout": float(os.environ[HEARTBEAT])} if os.environ.get(HEARTBEAT) else {}


def chain() -> CompiledGraph:
    builder = StateGraph(State)
    names = ["one", "two", "three", "four"]
    for name in names:
        builder.add_node(name, node(name), **_options())
    for source, target in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(source, target)
    return builder.compile(name="chaos-chain")


def fan() -> CompiledGraph:
    """Return a graph of a fan-out, and of a join that waits for branches of unequal length."""
    builder = StateGraph(State)
    for name in (*BRANCHES, "longer", "join"):
        builder.add_node(name, node(name), **_options())
    for name in BRANCHES:
        builder.add_edge(START, name)
    builder.add_edge("right", "longer").add_edge(["left", "middle", "longer"], "join").add_edge("join", END)
    return builder.compile(name="chaos-fan")


def loop() -> CompiledGraph:
    builder = StateGraph(State).add_node("turn", node("turn", most_seconds=0.1), **_options())
    builder.add_edge(START, "turn")
    builder.add_conditional_edges("turn", lambda state: END if state["turns"] >= LOOPS else "turn", ["turn", END])
    return builder.compile(name="chaos-loop")


def fused() -> CompiledGraph:
    builder = StateGraph(State).add_node("turn", node("turn", most_seconds=0.1), **_options())
    builder.add_edge(START, "turn")
    builder.add_conditional_edges("turn", lambda state: END if state["turns"] >= FUSED_LOOPS else "turn", ["turn", END])
    return builder.compile(name="chaos-fused", durability="async")


def asking() -> CompiledGraph:
    builder = StateGraph(State)
    for name in ("before", "beside", "after"):
        builder.add_node(name, node(name), **_options())
    builder.add_node("ask", node("ask", asks=True), **_options())
    builder.add_edge(START, "before").add_edge("before", "ask").add_edge("before", "beside")
    builder.add_edge(["ask", "beside"], "after").add_edge("after", END)
    return builder.compile(name="chaos-asking", authors=["human"])


def retrying() -> CompiledGraph:
    """Return a graph whose first node fails once, and may fail once: a kill is no failure of the node."""
    policy = RetryPolicy(initial_interval=0.1, max_attempts=2, jitter=False)
    builder = StateGraph(State)
    builder.add_node("shaky", node("shaky", fails=True), retry_policy=policy, **_options())
    builder.add_node("calm", node("calm"), **_options())
    builder.add_edge(START, "shaky").add_edge("shaky", "calm").add_edge("calm", END)
    return builder.compile(name="chaos-retrying")


GRAPHS = {graph.name: graph for graph in (chain(), fan(), loop(), fused(), asking(), retrying())}

chaos_chain, chaos_fan, chaos_loop, chaos_fused, chaos_asking, chaos_retrying = GRAPHS.values()

COMMITTED = {
    "chaos-chain": {"one": 1, "two": 1, "three": 1, "four": 1},
    "chaos-fan": {**dict.fromkeys(BRANCHES, 1), "longer": 1, "join": 1},
    "chaos-loop": {"turn": LOOPS},
    "chaos-fused": {"turn": FUSED_LOOPS},
    "chaos-asking": {"before": 1, "beside": 1, "ask": 1, "after": 1},
    "chaos-retrying": {"shaky": 1, "calm": 1},
}
"""How often each node is committed for one input of a new thread."""
