"""A graph whose state grows in every way there is, for workers in this process and in others."""

from __future__ import annotations

import os
import time
from operator import add
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel

from stepgraph import END, START, StateGraph
from stepgraph.graph.compiled import CompiledGraph

TURNS = 10


class Message(BaseModel):
    id: int
    text: str


def by_id(left: list[Message], right: list[Message]) -> list[Message]:
    """An author's own reducer: a message replaces the one with its id, or is added at the end."""
    places = {message.id: place for place, message in enumerate(left)}
    for message in right:
        if message.id in places:
            left[places[message.id]] = message
        else:
            left.append(message)
    return left


class State(TypedDict):
    log: Annotated[list[str], add]
    messages: Annotated[list[Message], by_id]
    facts: dict[str, list[int]]
    large: str
    turns: int


def talk(state: State) -> dict[str, Any]:
    turn = state["turns"]
    state["log"].append("a node may do with its input as it likes")
    state.get("facts", {}).clear()
    if folder := os.environ.get("NOTES"):  # for a test that kills the process
        with open(f"{folder}/turns", "a") as notes:
            print(turn, os.getpid(), file=notes)
        time.sleep(0.1)
    return {
        "log": [f"{turn}:".ljust(100, "é")],
        "messages": [Message(id=turn % 4, text=f"turn {turn}"), Message(id=100 + turn, text="new")],
        "facts": {"turn": [turn] * turn},
        "turns": turn + 1,
    }


def travelling(task_queue: str | None = None) -> CompiledGraph:
    """The graph; its node may run on a task queue of its own."""
    builder = StateGraph(State)
    builder.add_node("talk", talk, task_queue=task_queue, heartbeat_timeout=2)
    builder.add_edge(START, "talk")
    builder.add_conditional_edges("talk", lambda state: END if state["turns"] >= TURNS else "talk", ["talk", END])
    return builder.compile(name="travelling")


graph = travelling()
