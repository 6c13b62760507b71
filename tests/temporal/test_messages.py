"""Conversations on a server: messages come back as what they were, and a history grows with what is said."""

from __future__ import annotations

import dataclasses
import operator
from typing import Annotated, Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from typing_extensions import TypedDict

from stepgraph import END, START, GraphClient, MessagesState, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.interrupts import Command
from tests.conftest import Stage


@dataclasses.dataclass
class Plan:
    steps: list[str]


def agent(turns: int = 1) -> CompiledGraph:
    """Return a graph that calls a tool in every turn, and then asks whether to go on."""

    def model(state: MessagesState) -> dict[str, Any]:
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": AIMessage(f"Found {state['messages'][-1].artifact['rows']}." + "x" * 1000)}
        call = {"name": "search", "args": {"q": "x"}, "id": f"call {len(state['messages'])}"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    def tool(state: MessagesState) -> dict[str, Any]:
        (call,) = state["messages"][-1].tool_calls
        return {"messages": [ToolMessage("found", tool_call_id=call["id"], artifact={"rows": (1, 2)})]}

    def after_model(state: MessagesState) -> str:
        if state["messages"][-1].tool_calls:
            return "tool"
        return END if len(state["messages"]) > 3 * turns else "model"

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tool", tool)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", after_model, ["tool", "model", END])
    builder.add_edge("tool", "model")
    return builder.compile(name="agent")


async def test_messages_come_back_as_what_they_were(stage: Stage) -> None:
    """From nodes, to a client with the graph's types, in its history, after an update and to a client without types."""
    graph = agent()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        result = await client.ainvoke({"messages": [("user", "hi")]}, config)
        assert [type(message) for message in result["messages"]] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
        assert result["messages"][2].artifact == {"rows": (1, 2)}
        assert len({message.id for message in result["messages"]}) == 4
        again = await client.aget_state(config)
        assert again.values == result
        gone, kept = result["messages"][0], result["messages"][1:]
        await client.aupdate_state(config, {"messages": [RemoveMessage(gone.id), ("ai", "gone")]}, as_node="tool")
        head = await client.aget_state(config)
        assert head.values["messages"][:-1] == kept
        assert head.values["messages"][-1].content == "gone"
        values = (await GraphClient(stage.client, graph.name).aget_state(config)).values
    assert [message["type"] for message in values["messages"]] == ["ai", "tool", "ai", "ai"]
    assert values["messages"][-1] | {"id": ""} == {"$type": "message", "type": "ai", "content": "gone", "id": ""}


async def test_the_history_of_a_chat_grows_with_what_is_said_and_not_with_the_chat(stage: Stage) -> None:
    """Twice the turns are twice the bytes: a message is recorded where it is written, and nowhere else."""

    async def history_bytes(turns: int) -> int:
        graph = agent(turns)
        client, config = stage.use(graph), stage.thread()
        async with stage.serving(graph):
            result = await client.ainvoke({"messages": "hi"}, config)
        assert len(result["messages"]) == 3 * turns + 1
        (run,) = await stage.runs(config["configurable"]["thread_id"])
        events = (await stage.history(run)).events
        return sum(event.ByteSize() for event in events[:-2])  # the record at the end has the state

    short, long = await history_bytes(20), await history_bytes(40)
    assert long < 2.1 * short


async def test_an_update_while_a_person_is_asked_may_bring_messages(stage: Stage) -> None:
    """Also one sent as JSON, without the graph's types: the workflow folds it without making ids itself."""

    def ask(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [HumanMessage(interrupt("What next?"))]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    graph = builder.compile(name="asks")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"messages": "hi"}, config)
        plain = GraphClient(stage.client, graph.name)
        await plain.aupdate_state(config, {"messages": {"role": "user", "content": "wait"}}, as_node="human")
        result = await client.ainvoke(Command(resume="go on"), config)
    assert [message.content for message in result["messages"]] == ["hi", "wait", "go on"]
    assert all(message.id for message in result["messages"])


class Open(TypedDict):
    """A state as programs of LangGraph declare it: with annotations that say little."""

    found: list
    notes: Annotated[list, operator.add]
    latest: Any
    plan: Plan


async def test_open_annotations_keep_classes_on_the_way_through_a_server(stage: Stage) -> None:
    """Messages, documents, tuples and the classes that the state mentions come back from `list` and `Any`."""
    document = Document("text", metadata={"pages": (1, 2)})
    seen: list[Any] = []

    def write(state: Open) -> dict[str, Any]:
        return {"found": [document], "notes": [AIMessage("a", id="1"), {"$type": "x"}], "latest": Plan(["a"])}

    def read(state: Open) -> dict[str, Any]:
        seen.append(dict(state))
        return {"notes": [("b", 2)], "latest": {1: state["found"][0]}}

    builder = StateGraph(Open)
    builder.add_node("write", write)
    builder.add_node("read", read)
    builder.add_edge(START, "write")
    builder.add_edge("write", "read")
    builder.add_edge("read", END)
    graph = builder.compile(name="open")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        result = await client.ainvoke({"latest": HumanMessage("hi", id="0"), "plan": Plan([])}, config)
        head = await client.aget_state(config)
    notes = [AIMessage("a", id="1"), {"$type": "x"}]
    assert seen == [{"found": [document], "notes": notes, "latest": Plan(["a"]), "plan": Plan([])}]
    assert result == {"found": [document], "notes": [*notes, ("b", 2)], "latest": {1: document}, "plan": Plan([])}
    assert head.values == result
