"""Time travel and answers from outside: signals of plain JSON, and a client without the graph's schema."""

from __future__ import annotations

import json
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, Command, GraphClient, StateGraph, interrupt
from stepgraph.errors import InvalidUpdateError, ThreadError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.terminal import Terminal, thread_id


class Order(TypedDict, total=False):
    amount: int
    notes: Annotated[list[str], add]


def shop(calls: list[str]) -> CompiledGraph:
    """Return a graph of price, approve, which has an interrupt, and ship."""

    def price(state: Order) -> dict[str, Any]:
        calls.append("price")
        return {"amount": state["amount"] * 2}

    def approve(state: Order) -> dict[str, Any]:
        calls.append("approve")
        return {"notes": [f"{interrupt('approve?')} to {state['amount']}"]}

    def ship(state: Order) -> dict[str, Any]:
        calls.append("ship")
        return {"notes": ["shipped"]}

    builder = StateGraph(Order).add_node(price).add_node(approve).add_node(ship)
    builder.add_edge(START, "price").add_edge("price", "approve").add_edge("approve", "ship").add_edge("ship", END)
    return builder.compile(name="shop")


async def until(client: GraphClient, config: dict[str, Any], source: str, step: int) -> None:
    """Wait until a thread's head has this source and step."""

    async def is_there() -> bool:
        metadata = (await client.aget_state(config)).metadata
        return metadata is not None and (metadata["source"], metadata["step"]) == (source, step)

    await eventually(is_there)


async def test_an_operator_edits_forks_and_answers_with_the_temporal_command(stage: Stage, terminal: Terminal) -> None:
    """`temporal workflow signal` takes plain JSON; the state lists the errors of signals that were refused."""
    calls: list[str] = []
    graph = shop(calls)
    client, config = stage.use(graph), stage.thread()

    async def signal(name: str, command: dict[str, Any]) -> None:
        words = ("--workflow-id", thread_id(config), "--name", name, "--input", json.dumps(command))
        signalled = await terminal.run("workflow", "signal", *words)
        assert signalled.status == 0, signalled.err

    async def errors() -> Any:
        return (await terminal.query(config, "get_state"))["errors"]

    async with stage.serving(graph):
        await client.ainvoke({"amount": 5}, config)
        priced = (await client.aget_state(config)).config
        await signal("update_state", {"values": {"amount": 7}, "as_node": "human"})
        await until(client, config, "update", 3)
        assert (await client.aget_state(config)).next == ("approve",)
        await signal("update_state", {"values": {"amonut": 1}})
        assert "'amonut'" in (await eventually(errors))[0]
        await signal("resume", {"resume": "yes"})
        await until(client, config, "loop", 5)
        assert (await client.aget_state(config)).values == {"amount": 7, "notes": ["yes to 7", "shipped"]}
        await client.ainvoke({"amount": 1}, config)
        command = {"values": {"notes": ["again"]}, "as_node": "price", **checkpoint(priced)}
        await signal("fork", command)
        await until(client, config, "fork", 3)
        await signal("resume", {"resume": "no"})
        await until(client, config, "loop", 5)
        assert (await client.aget_state(config)).values == {"amount": 10, "notes": ["again", "no to 10", "shipped"]}
    assert calls.count("ship") == 2


def checkpoint(config: Any) -> dict[str, Any]:
    return {"checkpoint_id": config["configurable"]["checkpoint_id"]}


async def test_a_client_without_the_schema_can_do_everything(stage: Stage) -> None:
    """A client without the schema updates, forks, replays and answers. Only the workers have the graph."""
    calls: list[str] = []
    graph = shop(calls)
    stage.use(graph)
    client, config, what_if = (
        GraphClient(stage.client, "shop", task_queue=stage.task_queue),
        stage.thread(),
        stage.thread(),
    )
    async with stage.serving(graph):
        (pending,) = (await client.ainvoke({"amount": 5}, config))["__interrupt__"]
        assert pending.value == "approve?"
        priced = (await client.aget_state(config)).config
        assert (await client.ainvoke(Command(resume={pending.id: "yes"}), config))["notes"] == ["yes to 10", "shipped"]
        with pytest.raises(InvalidUpdateError, match="amonut"):
            await client.aupdate_state(config, {"amonut": 1})
        updated = await client.aupdate_state(priced, {"amount": 3}, as_node="price")
        assert (await client.aget_state(config)).config == updated
        (again,) = (await client.ainvoke(None, config))["__interrupt__"]
        assert (await client.ainvoke(Command(resume="so"), config))["notes"] == ["so to 3", "shipped"]
        assert again.id != pending.id
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
