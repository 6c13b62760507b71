"""Time travel and answers from outside: signals as plain JSON, and a client that has none of the graph's code."""

from __future__ import annotations

import asyncio
import json
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, Command, GraphClient, StateGraph, interrupt
from stepgraph.errors import InvalidUpdateError, ThreadError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.temporal.terminal import Terminal, thread_id


class UpdateCommand(TypedDict, total=False):
    amount: int
    notes: Annotated[list[str], add]


def shop(calls: list[str]) -> CompiledGraph:
    """price, then approve, which asks, then ship."""

    def price(state: UpdateCommand) -> dict[str, Any]:
        calls.append("price")
        return {"amount": state["amount"] * 2}

    def approve(state: UpdateCommand) -> dict[str, Any]:
        calls.append("approve")
        return {"notes": [f"{interrupt('approve?')} to {state['amount']}"]}

    def ship(state: UpdateCommand) -> dict[str, Any]:
        calls.append("ship")
        return {"notes": ["shipped"]}

    builder = StateGraph(UpdateCommand).add_node(price).add_node(approve).add_node(ship)
    builder.add_edge(START, "price").add_edge("price", "approve").add_edge("approve", "ship").add_edge("ship", END)
    return builder.compile(name="shop")


async def until(client: GraphClient, config: dict[str, Any], source: str, step: int) -> None:
    """Waits until a thread's head is of a source, at a step."""
    async with asyncio.timeout(20):
        while (found := (await client.aget_state(config)).metadata) is None or (found["source"], found["step"]) != (
            source,
            step,
        ):
            await asyncio.sleep(0.05)


async def test_an_operator_edits_forks_and_answers_with_the_temporal_command(stage: Stage, terminal: Terminal) -> None:
    """`temporal workflow signal` with plain JSON; a signal that cannot be honoured is told in the state."""
    calls: list[str] = []
    graph = shop(calls)
    client, config = stage.use(graph), stage.thread()

    async def signal(name: str, order: dict[str, Any]) -> None:
        words = ("--workflow-id", thread_id(config), "--name", name, "--input", json.dumps(order))
        told = await terminal.run("workflow", "signal", *words)
        assert told.status == 0, told.err

    async with stage.serving(graph):
        await client.ainvoke({"amount": 5}, config)
        priced = (await client.aget_state(config)).config
        await signal("update_state", {"values": {"amount": 7}, "as_node": "human"})
        await until(client, config, "update", 3)
        assert (await client.aget_state(config)).next == ("approve",)
        await signal("update_state", {"values": {"amonut": 1}})
        async with asyncio.timeout(20):
            while not (errors := (await terminal.query(config, "get_state"))["errors"]):
                await asyncio.sleep(0.05)
        assert "'amonut'" in errors[0]
        await signal("resume", {"resume": "yes"})
        await until(client, config, "loop", 5)
        assert (await client.aget_state(config)).values == {"amount": 7, "notes": ["yes to 7", "shipped"]}
        await client.ainvoke({"amount": 1}, config)
        given = {"values": {"notes": ["again"]}, "as_node": "price", **checkpoint(priced)}
        await signal("fork", given)
        await until(client, config, "fork", 3)
        await signal("resume", {"resume": "no"})
        await until(client, config, "loop", 5)
        assert (await client.aget_state(config)).values == {"amount": 10, "notes": ["again", "no to 10", "shipped"]}
    assert calls.count("ship") == 2


def checkpoint(config: Any) -> dict[str, Any]:
    return {"checkpoint_id": config["configurable"]["checkpoint_id"]}


async def test_a_client_without_the_code_does_all_that_one_with_it_does(stage: Stage) -> None:
    """Updates, forks here and onto a new thread, replays and answers; it is the workers that know the graph."""
    calls: list[str] = []
    graph = shop(calls)
    stage.use(graph)
    client, config, what_if = (
        GraphClient(stage.client, "shop", task_queue=stage.task_queue),
        stage.thread(),
        stage.thread(),
    )
    async with stage.serving(graph):
        (asked,) = (await client.ainvoke({"amount": 5}, config))["__interrupt__"]
        assert asked.value == "approve?"
        priced = (await client.aget_state(config)).config
        assert (await client.ainvoke(Command(resume={asked.id: "yes"}), config))["notes"] == ["yes to 10", "shipped"]
        with pytest.raises(InvalidUpdateError, match="amonut"):
            await client.aupdate_state(config, {"amonut": 1})
        made = await client.aupdate_state(priced, {"amount": 3}, as_node="price")
        assert (await client.aget_state(config)).config == made
        (again,) = (await client.ainvoke(None, config))["__interrupt__"]
        assert (await client.ainvoke(Command(resume="so"), config))["notes"] == ["so to 3", "shipped"]
        assert again.id != asked.id
        forked = await client.afork(priced, {"amount": 4}, as_node="human", thread_id=thread_id(what_if))
        assert "__interrupt__" in forked
        assert (await client.ainvoke(Command(resume="ok"), what_if))["notes"] == ["ok to 4", "shipped"]
        replayed = await client.ainvoke(None, priced)
        assert replayed["amount"] == 10
        with pytest.raises(ThreadError, match="already"):
            await client.afork(priced, thread_id=thread_id(what_if))
        bulk = await client.abulk_update_state(stage.thread(), [[({"amount": 1}, None)], [({"amount": 2}, "price")]])
        assert (await client.aget_state(bulk)).next == ("approve",)
    assert calls == ["price", "approve", "approve", "ship"] + ["approve", "approve", "ship"] * 2 + ["approve"]
