"""A graph whose state grows in every way that a channel can, for workers in this process and in others."""

from __future__ import annotations

import os
import time
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel

from stepgraph import END, START, StateGraph
from stepgraph.graph.compiled import CompiledGraph

TURNS = 10

BLOCKED_TURN = 3
"""The turn that waits, in a process with NOTES set, until a file ``killed`` exists in that folder."""


class Message(BaseModel):
    id: int
    text: str


def by_id(left: list[Message], right: list[Message]) -> list[Message]:
    """Reducer of a user: a message replaces the one with its id, or is added at the end."""
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
    state["log"].append("a node may change its input without consequences")
    state.get("facts", {}).clear()
    if folder := os.environ.get("NOTES"):
        note(Path(folder), turn)
    return {
        "log": [f"{turn}:".ljust(100, "é")],
        "messages": [Message(id=turn % 4, text=f"turn {turn}"), Message(id=100 + turn, text="new")],
        "facts": {"turn": [turn] * turn},
        "turns": turn + 1,
    }


def note(folder: Path, turn: int) -> None:
    """Write down which process runs a turn, for a test that kills the process during `BLOCKED_TURN`."""
    with open(folder / "turns", "a") as notes:
        print(turn, os.getpid(), file=notes)
    while turn == BLOCKED_TURN and not (folder / "killed").exists():
        time.sleep(0.01)


def growing(task_queue: str | None = None, heartbeat_timeout: float = 30.0) -> CompiledGraph:
    """Return the graph. Its node may run on a task queue of its own."""
    builder = StateGraph(State)
    builder.add_node("talk", talk, task_queue=task_queue, heartbeat_timeout=heartbeat_timeout)
    builder.add_edge(START, "talk")
    builder.add_conditional_edges("talk", lambda state: END if state["turns"] >= TURNS else "talk", ["talk", END])
    return builder.compile(name="growing")


graph = growing()
