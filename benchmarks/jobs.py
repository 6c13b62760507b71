"""The jobs that every peer runs, and the states, nodes and routers that the graphs of all peers share."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from operator import add
from random import Random
from string import ascii_letters
from typing import Annotated, Any, Literal, TypedDict

JobKind = Literal["chain", "loop", "chat", "merge", "fan", "agent"]
"""``chain``: one node per step. ``loop``: one node, run again and again. ``chat``: a loop that adds a message to the
state at each step. ``merge``: a loop that writes some keys of a mapping with a reducer of its own. ``fan``: one node
per step, all of them in one super-step. ``agent``: a chat model that calls a tool, in turn; each turn is two steps
(`benchmarks.agent_graph`)."""

MERGED_KEYS = 2000
"""Keys of the mapping of a ``merge`` job."""

WRITTEN_KEYS = 5
"""Keys that each step of it writes, always the same ones."""


@dataclass(frozen=True)
class Job:
    """The work of one thread."""

    kind: JobKind
    steps: int
    size: int = 0
    """Bytes of each message, or of each value that a ``merge`` writes."""
    durability: Literal["sync", "async"] = "sync"

    def to_json(self) -> dict[str, Any]:
        """Returns the job as JSON data. ``Job(**data)`` makes it a job again."""
        return asdict(self)

    @property
    def name(self) -> str:
        """The name of the graph that does this job."""
        return f"{self.kind}_{self.steps}_{self.durability}"

    @property
    def input(self) -> dict[str, Any]:
        """The input of a thread."""
        if self.kind == "agent":
            return {"messages": [{"role": "user", "content": "begin"}], "goal": self.steps // 2}
        counters = {"count": 0, "goal": self.steps}
        if self.kind == "merge":
            return {**counters, "size": self.size, "facts": {f"key {number}": "old" for number in range(MERGED_KEYS)}}
        return counters if self.kind != "chat" else {**counters, "size": self.size, "messages": []}


class CountState(TypedDict):
    """The state of a ``chain`` or ``loop`` job."""

    count: int
    goal: int


class FanState(TypedDict):
    """The state of a ``fan`` job."""

    count: Annotated[int, add]
    goal: int


class ChatState(TypedDict):
    """The state of a ``chat`` job."""

    count: int
    goal: int
    size: int
    messages: Annotated[list[str], add]


def merge_facts(left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
    """A reducer that only the graph's code has."""
    return {**left, **right}


class MergeState(TypedDict):
    """The state of a ``merge`` job."""

    count: int
    goal: int
    size: int
    facts: Annotated[dict[str, str], merge_facts]


step_start_times: list[float] = []
"""When each step began in this process, by ``time.perf_counter``."""


async def count_step(state: CountState) -> dict[str, Any]:
    """Counts one step: the least that a node can do."""
    return count_step_blocking(state)


async def chat_step(state: ChatState) -> dict[str, Any]:
    """Counts one step and adds a message."""
    return chat_step_blocking(state)


async def fan_step(state: FanState) -> dict[str, Any]:
    """Counts itself."""
    step_start_times.append(time.perf_counter())
    return {"count": 1}


async def merge_step(state: MergeState) -> dict[str, Any]:
    """Counts one step and writes some keys."""
    step_start_times.append(time.perf_counter())
    text = message(state["count"], state["size"])
    return {"count": state["count"] + 1, "facts": {f"key {number}": text for number in range(WRITTEN_KEYS)}}


async def merge_router(state: MergeState) -> str:
    """Routes a merge."""
    return router_blocking(state)


async def count_router(state: CountState) -> str:
    """Routes a loop."""
    return router_blocking(state)


async def chat_router(state: ChatState) -> str:
    """Routes a chat."""
    return router_blocking(state)


def count_step_blocking(state: Any) -> dict[str, Any]:
    """Does the same as `count_step`, for peers whose nodes are not async."""
    step_start_times.append(time.perf_counter())
    return {"count": state["count"] + 1}


def chat_step_blocking(state: Any) -> dict[str, Any]:
    """Does the same as `chat_step`, for peers whose nodes are not async."""
    step_start_times.append(time.perf_counter())
    return {"count": state["count"] + 1, "messages": [message(state["count"], state["size"])]}


def router_blocking(state: Any) -> str:
    """Returns ``"again"`` until the thread has done all its steps, then ``"done"``."""
    return "again" if state["count"] < state["goal"] else "done"


def message(number: int, size: int) -> str:
    """Returns a message of ``size`` bytes; the same number gives the same message.

    The letters are random, so that a peer that compresses what it stores gains little.
    """
    return "".join(Random(number).choices(ascii_letters, k=size))
