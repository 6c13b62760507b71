"""Commands: what a client asks of a thread, in an update, in a signal, or as the first act of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.constants import START
from stepgraph.engine.record import Record
from stepgraph.engine.spec import Durability
from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.protocol.message import Message

CommandKind = Literal["update", "fork", "resume", "invoke"]


def runs_nodes(kind: CommandKind) -> bool:
    """Return whether nodes run after a command of this kind: after an update by hand none do."""
    return kind != "update"


OnBusy = Literal["refuse", "enqueue", "cancel"]


class StateUpdate(Message):
    """One update by hand, signed by ``as_node`` or, without it, by the last writer.

    The values are JSON data: keys of the state, or the value of a state of one value.
    """

    values: Any = None
    as_node: str | None = None
    task_id: str | None = None
    """The task whose run the update replaces, where its node is due several times."""


class UpdateCommand(Message):
    """What `UPDATE_STATE` and `FORK` carry.

    Most callers need ``{"values": {...}, "as_node": "human"}`` alone; ``{}`` to `FORK` runs the head's tasks again.
    """

    values: Any = None
    as_node: str | None = None
    task_id: str | None = None
    """The task whose run the update replaces, where its node is due several times."""
    checkpoint_id: str | None = None
    """The checkpoint that the new one grows from; the head by default."""
    super_steps: tuple[tuple[StateUpdate, ...], ...] | None = None
    """Several updates instead of ``values``, ``as_node`` and ``task_id``. Each inner tuple is applied together, as one
    super-step, and has an update at least."""
    thread_id: str | None = None
    """The thread that has ``checkpoint_id``; set in the first run of a fork onto a new thread."""
    types: str = ""
    """The hash of the types under which the values were encoded (`GraphSpec.types_hash`). Without it, or if the run has
    another one, the graph's code coerces the values."""

    @model_validator(mode="after")
    def _has_one_kind_of_updates(self) -> Self:
        if self.super_steps is None:
            return self
        beside = [name for name in ("values", "as_node", "task_id") if getattr(self, name) is not None]
        if beside:
            raise ValueError(f"'super_steps' stands alone, and has {beside[0]!r} in each update")
        if not self.super_steps or not all(self.super_steps):
            raise ValueError("'super_steps' has at least one super-step, and at least one update in each")
        return self

    def steps(self, kind: Literal["update", "fork"]) -> tuple[tuple[StateUpdate, ...], ...]:
        """Return the updates by super-step. A fork without updates is a replay: one super-step without updates."""
        if self.super_steps is not None:
            return self.super_steps
        if kind == "fork" and self.values is None and self.as_node is None and self.task_id is None:
            return ((),)
        return ((StateUpdate(values=self.values, as_node=self.as_node, task_id=self.task_id),),)


class ResumeCommand(Message):
    """What `RESUME` carries: ``{"resume": "yes"}``, or ``{"resume": {"<interrupt id>": "yes"}}``.

    Beside an answer, or without one, it may write values and lead to nodes: ``{"update": {...}, "goto": "review"}``.
    """

    resume: Any = None
    update: tuple[dict[str, Any], ...] = ()
    """Values that are written before, as JSON data, in order."""
    goto: tuple[str, ...] = ()
    """Nodes that run in addition to those that are due."""
    sends: tuple[SentTask, ...] = ()
    """Nodes that run in addition, with an input of their own."""
    types: str = ""
    """The hash of the types under which the values were encoded; see `UpdateCommand.types`."""
    interrupt_before: tuple[str, ...] | None = None
    """Breakpoints from now on; `None` leaves those of the graph."""
    interrupt_after: tuple[str, ...] | None = None
    config: dict[str, Any] | None = None
    """Keys that replace those of what nodes have seen of the caller's config; `None` leaves all."""
    durability: Durability | None = None
    """When super-steps are recorded from now on; `None` leaves it as it is."""

    @field_validator("update", "goto", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, Mapping | str) else value

    @property
    def leads(self) -> bool:
        """Whether it writes values, or leads to nodes."""
        return bool(self.update or self.goto or self.sends)

    @property
    def answers(self) -> bool:
        """Whether it answers an interrupt; an answer of `None` stands alone."""
        return self.resume is not None or not self.leads


class InvokeOptions(Message):
    """What a caller may set for one invoke; nodes find ``config`` in their own."""

    recursion_limit: int = DEFAULT_RECURSION_LIMIT
    """Super-steps that the invoke may take."""
    config: dict[str, Any] = Field(default_factory=dict)
    """What nodes see of the caller's call: ``configurable``, ``tags`` and ``metadata`` of its config; ``context``."""
    interrupt_before: tuple[str, ...] | None = None
    """Breakpoints of this invoke; `None` leaves those of the graph."""
    interrupt_after: tuple[str, ...] | None = None
    durability: Durability | None = None
    """When the super-steps of this invoke are recorded; `None` leaves the graph's."""
    types: str = ""
    """The hash of the types under which the input was encoded; see `UpdateCommand.types`."""


class InvokeCommand(InvokeOptions):
    """What `INVOKE` carries: an input for the thread, or none to continue from a breakpoint."""

    input: Any = None
    """JSON data: keys of the state, or the value of a state of one value."""
    on_busy: OnBusy = "refuse"
    """What to do while the thread runs: refuse; queue the input; or cancel the running nodes and be the next."""
    checkpoint_id: str | None = None
    """The checkpoint to continue from instead of the head; what came after it runs again."""

    def as_fork(self) -> UpdateCommand:
        """Return the fork that an invoke at an earlier checkpoint is: with its input, or as a replay without one."""
        as_node = None if self.input is None else START
        return UpdateCommand(values=self.input, as_node=as_node, checkpoint_id=self.checkpoint_id, types=self.types)


def config_after(command: object, config: dict[str, Any]) -> dict[str, Any]:
    """Return what nodes see of a caller's config once a command has been applied. ``config`` is what they saw."""
    if isinstance(command, InvokeCommand):
        return command.config
    if isinstance(command, ResumeCommand) and command.config is not None:
        return {**config, **command.config}
    return config


ThreadCommand = UpdateCommand | ResumeCommand | InvokeCommand


class QueuedInput(Message):
    """An input in the queue of a busy thread. It begins a run of its own once the thread is idle."""

    id: str
    """The id that its caller gave it. The run that begins with the input carries it."""
    command: InvokeCommand


class CommandAnswer(Message):
    """What a run answers to a command that it has applied, or to an input that it has queued.

    A command that is sent again, under the same id, gets an answer as to the first.
    """

    run_id: str
    """The run that applied the command, or that has the input in its queue."""
    configurable: dict[str, Any] | None = None
    """Names the thread and the checkpoint that the command led to; `None` for a queued input."""
    queued_input_id: str | None = None
    """The id of a queued input, which the run that begins with it carries."""


class IdleAnswer(Message):
    """The answer to `WAIT_UNTIL_IDLE`. Without a record and a query to make, the run has ended or continues as new."""

    record: Record | None = None
    """The thread's record, if the thread waits at an interrupt or breakpoint."""
    query_record: bool = False
    """The thread waits, and its record is too large for this answer: ask for it with `GET_RECORD`."""
