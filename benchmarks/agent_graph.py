"""The job ``agent`` as a LangGraph graph: a chat model and its tools, until the model has had its turns."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from benchmarks.jobs import message

MESSAGE_BYTES = 1024


class AgentState(MessagesState):  # type: ignore[misc]  # mypy does not read LangGraph
    """The state of an ``agent`` job."""

    goal: int
    """The turns that the agent makes."""


async def call_model(state: AgentState) -> dict[str, Any]:
    """Says something and calls the tool, or ends. It is a function of its module: the official plugin needs that."""
    turn = sum(isinstance(each, AIMessage) for each in state["messages"])
    if turn >= state["goal"]:
        return {"messages": [AIMessage("done", id="last")]}
    call = {"name": "look_up", "args": {"number": turn}, "id": f"call-{turn}", "type": "tool_call"}
    return {"messages": [AIMessage(message(turn, MESSAGE_BYTES), id=f"turn-{turn}", tool_calls=[call])]}


@tool
async def look_up(number: int) -> str:
    """Returns a text."""
    return message(-number, MESSAGE_BYTES)


def build_graph(**node_options: Any) -> Any:
    """Returns the agent as a ``StateGraph`` that is not compiled yet. ``node_options`` go to ``add_node``."""
    builder: Any = StateGraph(AgentState)
    builder.add_node("model", call_model, **node_options)
    builder.add_node("tools", ToolNode([look_up]), **node_options)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder


def steps_in(messages: list[Any]) -> int:
    """Returns how many steps of the job a conversation shows: two for each result of the tool."""
    return 2 * sum(isinstance(each, ToolMessage) for each in messages)
