"""Tests of a thread that goes on under code with a channel that its values lack, or without one that they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any

from stepgraph.engine.checkpoint import TaskFailure
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.commands import InvokeCommand, UpdateCommand
from stepgraph.protocol.opening import ReadRequest
from stepgraph.testing.memory_run import MemoryRun
from tests.core.driving import write_input
from tests.core.graphs import graph, state_of


@dataclass
class Bag:
    items: list[str] = field(default_factory=list)
    limit: int = 9


def put(left: Bag, right: Bag) -> Bag:
    return Bag([*left.items, *right.items][: left.limit], left.limit)


LOG = {"log": Annotated[list[str], add]}
BAG = {"bag": Annotated[Bag, put]}


def compiled(keys: dict[str, Any], written: dict[str, Any]) -> CompiledGraph:
    """Return a graph of two parallel nodes, of which `a` writes this."""
    return graph(
        state_of(keys), "START > a, START > b, a > END, b > END", a=lambda state: written, b=lambda state: None
    )


def continued(before: CompiledGraph, input_data: dict[str, Any], after: CompiledGraph) -> MemoryRun:
    """Return a run under one graph's code of a thread that another one's has begun. Both nodes are due, `a` failed."""
    thread = Thread(before.registry.spec, thread_id="t1", run_id="r", clock=lambda: "2026-01-01T00:00:00+00:00")
    write_input(thread, before.registry.schema.channels, input_data)
    thread.fail(thread.due()[0], TaskFailure(error_type="builtins:ValueError", error_message="odd"))
    record, spec = record_of(thread), after.registry.spec
    thread = thread_from(record, spec, thread_id="t1", run_id="next", clock=lambda: "2026-01-02T00:00:00+00:00")

    async def read(request: ReadRequest) -> Record:
        raise AssertionError("the thread has one run")

    return MemoryRun(after.registry, thread, {}, read=read)


async def test_a_write_to_an_added_channel_is_folded_into_its_zero() -> None:
    """The channel has no value until something is written to it."""
    run = continued(compiled(LOG, {}), {"log": ["in"]}, compiled(LOG | BAG, {"bag": Bag(["a"])}))
    await run.command("invoke", InvokeCommand())
    assert dict(run.thread.state) == {"log": ["in"], "bag": {"items": ["a"], "limit": 9}}


async def test_a_virtual_author_may_write_to_an_added_channel() -> None:
    """The failed task's write is then folded into that."""
    run = continued(compiled(LOG, {}), {"log": ["in"]}, compiled(LOG | BAG, {"bag": Bag(["a"])}))
    await run.command("update", UpdateCommand(values={"bag": {"items": ["human"]}}, as_node="human"))
    assert run.thread.state["bag"] == {"items": ["human"], "limit": 9}
    await run.command("invoke", InvokeCommand())
    assert run.thread.state["bag"] == {"items": ["human", "a"], "limit": 9}


async def test_an_update_as_a_failed_node_may_write_to_an_added_channel() -> None:
    """The update completes the super-step like the node's own write."""
    run = continued(compiled(LOG, {}), {"log": ["in"]}, compiled(LOG | BAG, {"bag": Bag(["a"])}))
    await run.command("update", UpdateCommand(values={"bag": {"items": ["by hand"]}}, as_node="a"))
    await run.command("invoke", InvokeCommand())
    assert run.thread.state["bag"] == {"items": ["by hand"], "limit": 9}


async def test_the_value_of_a_channel_that_the_code_lacks_is_kept() -> None:
    """It comes after the declared ones, and the next code that declares it finds it."""
    run = continued(compiled(BAG | LOG, {}), {"bag": {"items": ["in"], "limit": 9}}, compiled(LOG, {"log": ["a"]}))
    await run.command("invoke", InvokeCommand())
    assert list(run.thread.state) == ["log", "bag"]
    assert dict(run.thread.state) == {"log": ["a"], "bag": {"items": ["in"], "limit": 9}}
