"""The work that every peer does: what a step is, and the nodes that graphs of every kind share."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from operator import add
from random import Random
from string import ascii_letters
from typing import Annotated, Any, Literal, TypedDict

Kind = Literal["chain", "loop", "chat"]


@dataclass(frozen=True)
class Job:
    """A thread of so many steps: ``chain`` is a node a step, ``loop`` one node again and again, ``chat`` a loop in
    which every step writes a message."""

    kind: Kind
    steps: int
    size: int = 0
    """Bytes of a message."""
    durability: Literal["sync", "async"] = "sync"

    def to_json(self) -> dict[str, Any]:
        """The job as another process reads it: ``Job(**data)``."""
        return asdict(self)

    @property
    def name(self) -> str:
        """A name for the graph that does it."""
        return f"{self.kind}_{self.steps}_{self.durability}"

    @property
    def input(self) -> dict[str, Any]:
        """What a thread starts with."""
        start = {"count": 0, "goal": self.steps}
        return start if self.kind != "chat" else {**start, "size": self.size, "messages": []}


class Count(TypedDict):
    """The state of threads that only count."""

    count: int
    goal: int


class Chat(TypedDict):
    """The state of threads that talk."""

    count: int
    goal: int
    size: int
    messages: Annotated[list[str], add]


stamps: list[float] = []
"""When each step of a loop or chat began, in this process."""


async def step(state: Count) -> dict[str, Any]:
    """Counts, which is as little as a node can do."""
    return again(state)


async def talk(state: Chat) -> dict[str, Any]:
    """Says something of the size wanted."""
    return say(state)


async def more(state: Count) -> str:
    """Where a loop goes."""
    return route(state)


async def more_talk(state: Chat) -> str:
    """Where a chat goes."""
    return route(state)


def again(state: Any) -> dict[str, Any]:
    """What `step` writes, for peers whose nodes are not async."""
    stamps.append(time.perf_counter())
    return {"count": state["count"] + 1}


def say(state: Any) -> dict[str, Any]:
    """What `talk` writes."""
    stamps.append(time.perf_counter())
    return {"count": state["count"] + 1, "messages": [message(state["count"], state["size"])]}


def route(state: Any) -> str:
    """The node of a loop, until it is done."""
    return "again" if state["count"] < state["goal"] else "done"


def message(number: int, size: int) -> str:
    """A message of ``size`` bytes, the same each time: of random letters, so that who compresses gains little."""
    return "".join(Random(number).choices(ascii_letters, k=size))
