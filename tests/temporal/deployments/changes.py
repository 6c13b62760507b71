"""Changes of a graph's code, and what becomes of threads: the lines of the table in ``docs/deployments.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stepgraph.errors import (
    ChannelTypeError,
    InvalidUpdateError,
    MissingNodeError,
    NodeError,
    PayloadTooLargeError,
    ReducerError,
    StepgraphError,
)
from tests.temporal.deployments.versions import Code


class State(StrEnum):
    """What a thread does while the workers are replaced: the columns of the table."""

    RUNNING = "running"
    WAITING = "waiting"
    FAILED = "failed"
    CLOSED = "closed"


class Stop(StrEnum):
    """The kinds of stops. Each is the heading of a section, which quotes the error and names the mend."""

    TYPE = "A value does not fit its channel's new type"
    NEW_CHANNEL = "The run does not know a channel"
    OLD_CHANNEL = "The code lacks a channel that a finished node wrote"
    NODE = "The code lacks a node"
    NEW_NODE = "The run does not know a node"
    ROUTER = "The code lacks a router"
    REDUCER = "The code lacks a reducer"
    FAILING_REDUCER = "A reducer fails"
    WRONG_REDUCER = "A reducer returns another type"
    LARGE_REDUCER = "A reducer's result is too large"


ERRORS: Mapping[Stop, tuple[type[StepgraphError], ...]] = {
    Stop.TYPE: (NodeError, ChannelTypeError),
    Stop.NEW_CHANNEL: (InvalidUpdateError,),
    Stop.OLD_CHANNEL: (InvalidUpdateError,),
    Stop.NODE: (MissingNodeError,),
    Stop.NEW_NODE: (MissingNodeError,),
    Stop.ROUTER: (MissingNodeError,),
    Stop.REDUCER: (ReducerError,),
    Stop.FAILING_REDUCER: (ReducerError,),
    Stop.WRONG_REDUCER: (ReducerError,),
    Stop.LARGE_REDUCER: (PayloadTooLargeError,),
}
"""The classes of each error: a `NodeError` is also of the type of what the node raised."""


class Rules(StrEnum):
    """By which rules a thread goes on, where it shows."""

    SAME = ""
    OLD = "old rules"
    NEW = "new rules"


class Mend(StrEnum):
    """What lets a thread go on that has stopped."""

    RESUME = "resume"
    DEPLOY = "deploy code"
    WRITE = "write a value"
    PLAN = "plan anew"


@dataclass(frozen=True)
class Outcome:
    """What becomes of a thread: a cell of the table."""

    values: Mapping[str, Any]
    """The values at the end, without ``note``, as JSON data."""
    rules: Rules = Rules.SAME
    stop: Stop | None = None
    words: tuple[str, ...] = ()
    """What the error's message says."""
    mend: Mend | None = None
    write: Mapping[str, Any] = field(default_factory=dict)
    """What is written to mend the thread."""
    plan_after: str | None = None
    """The node in whose name an update without values mends the thread."""
    pauses_at: str | None = None
    """The node before which the thread pauses on its way."""

    @property
    def text(self) -> str:
        """The outcome in two or three words, as the table has it."""
        if self.mend is not None:
            return f"stops: {self.mend}"
        return f"goes on, {self.rules}" if self.rules else "goes on"


def goes_on(rules: Rules = Rules.SAME, /, *, pauses_at: str | None = None, **values: Any) -> Outcome:
    """Return the outcome of a thread that goes on, with the values at its end."""
    return Outcome(values, rules, pauses_at=pauses_at)


def resumed(stop: Stop, *words: str, **values: Any) -> Outcome:
    """Return the outcome of a thread that stops, and goes on when it is resumed."""
    return Outcome(values, stop=stop, words=words, mend=Mend.RESUME)


def deployed(stop: Stop, *words: str, **values: Any) -> Outcome:
    """Return the outcome of a thread that stops, and goes on when mended code is deployed and it is resumed."""
    return Outcome(values, stop=stop, words=words, mend=Mend.DEPLOY)


def written(stop: Stop, *words: str, write: Mapping[str, Any], **values: Any) -> Outcome:
    """Return the outcome of a thread that stops, and goes on when a value is written and it is resumed."""
    return Outcome(values, stop=stop, words=words, mend=Mend.WRITE, write=write)


def planned_anew(stop: Stop, *words: str, after: str, **values: Any) -> Outcome:
    """Return the outcome of a thread that stops, and goes on when what follows a node is planned anew."""
    return Outcome(values, stop=stop, words=words, mend=Mend.PLAN, plan_after=after)


@dataclass(frozen=True)
class Change:
    """One line of the table: a change of the code, and the outcome of a thread in each state.

    The outcome of a failed thread is also that of a fork at a checkpoint from before the deployment: both go on there,
    under the code at hand.
    """

    title: str
    before: Code
    after: Code
    running: Outcome
    closed: Outcome
    """The outcome of a closed thread that is invoked again."""
    waiting: Outcome | None = None
    """The outcome of a waiting thread, if it is another than that of a running one."""
    failed: Outcome | None = None
    """The outcome of a failed thread, if it is another than that of a running one."""
    fork: Outcome | None = None
    """The outcome of a fork, if it is another than that of a failed thread."""
    fork_while_waiting: Outcome | None = None
    """The outcome of a fork on the open run of a waiting thread, if it is another than that of an answer."""
    mended: Code | None = None
    """The code that is deployed as a mend."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """What the thread begins with, beside its ``note``."""
    again: Mapping[str, Any] = field(default_factory=dict)
    """What a closed thread is invoked with, beside its ``note``."""
    before_pauses_at: str | None = None
    """The breakpoint of the first version, which a thread passes before it is closed."""
    quoted: State | None = None
    """The state in which the page quotes the error of the stop."""
    faults: Mapping[State, str] = field(default_factory=dict)
    """Open faults of stepgraph, by state."""

    @property
    def name(self) -> str:
        """The graph's name."""
        return re.sub(r"\W+", "_", self.title.lower()).strip("_")

    def outcome(self, state: State) -> Outcome:
        """Return the cell of a state."""
        outcomes = {State.WAITING: self.waiting, State.FAILED: self.failed, State.CLOSED: self.closed}
        return outcomes.get(state) or self.running

    @property
    def outcome_of_fork(self) -> Outcome:
        """The outcome of a fork at a checkpoint from before the deployment."""
        return self.fork or self.outcome(State.FAILED)


OLD, NEW = Rules.OLD, Rules.NEW
