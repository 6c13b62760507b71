"""The immutable data of the engine: checkpoints, their tasks, and what tasks leave (results, failures, interrupts)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from stepgraph.engine.changes import Change, Written
from stepgraph.engine.constants import START
from stepgraph.engine.ids import task_id
from stepgraph.serde.formats import Data
from stepgraph.serde.plain_json import json_size

Source = Literal["input", "loop", "update", "fork"]
"""Why a checkpoint was made."""

SEVERAL = "$writes"
"""The key under which a snapshot lists several writes of one task to one channel, as LangGraph does."""


class Task(Data):
    """One node call inside a super-step."""

    id: str
    """The same in every attempt, every run, and every checkpoint that carries the task over."""
    node: str
    checkpoint_id: str
    """The checkpoint where the task was first planned."""
    sent: bool = False
    """Whether another task sent it. It then has an input of its own; a triggered task reads the state."""
    input: Any = None
    """That input, as JSON data."""


class SentTask(Data):
    """A node that a task wants to run in the next super-step, with an input of its own."""

    node: str
    input: Any = None


def new_tasks(checkpoint_id: str, triggers: Sequence[str], sends: Sequence[SentTask] = ()) -> tuple[Task, ...]:
    """Return the tasks that are planned at a checkpoint: those triggered, by name, then those sent, in their order.

    Their writes are applied in this order.
    """
    sent = (
        Task(
            id=task_id(checkpoint_id, send.node, path=str(number)),
            node=send.node,
            checkpoint_id=checkpoint_id,
            sent=True,
            input=send.input,
        )
        for number, send in enumerate(sends)
    )
    triggered = (
        Task(id=task_id(checkpoint_id, node), node=node, checkpoint_id=checkpoint_id) for node in sorted(set(triggers))
    )
    return (*triggered, *sent)


def as_shown(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return tasks in the order in which snapshots list them, as LangGraph does: those that were sent come first."""
    return tuple(sorted(tasks, key=lambda task: not task.sent))


def planned_anew(checkpoint_id: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return tasks for another checkpoint that does the same again: their ids are new."""
    sends = [SentTask(node=task.node, input=task.input) for task in tasks if task.sent]
    return new_tasks(checkpoint_id, [task.node for task in tasks if not task.sent], sends)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is true after a super-step. Never changed afterwards."""

    id: str
    parent_id: str | None
    step: int
    source: Source
    created_at: str
    """ISO 8601, UTC."""
    values: Mapping[str, Any]
    """The values of the channels, as JSON data."""
    tasks: tuple[Task, ...] = ()
    """The tasks that the checkpoint has due. Their writes are applied in this order."""
    joins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each join, by its key: the sources that have finished since its target last ran. A join that has all of them
    leads to one of ``tasks``, unless it is among ``deferred``."""
    deferred: tuple[str, ...] = ()
    """What leads to deferred nodes that wait until nothing else is due: `edge_key` of a node, or the key of a join."""
    writes: Mapping[str, Any] | None = None
    """By node, what was written to get from the parent to this checkpoint, as JSON data. A list, if the node had
    several tasks."""
    input: Mapping[str, Any] | None = None
    """The caller's input, as JSON data. The start node writes it in the next super-step. Only on input checkpoints."""
    input_stamps: Mapping[str, str] = field(default_factory=dict)
    """The stamps under which the input was encoded, by channel."""
    forked_from: str | None = None
    """The thread id of the parent if it is on another thread."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """For each channel with a custom fold: the id of the checkpoint that last changed it."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """For each channel: under which type and reducer its value was last proven (`ChannelSpec.stamp`)."""

    @classmethod
    def from_data(cls, data: CheckpointData, values: Mapping[str, Any]) -> Checkpoint:
        """Return a checkpoint from JSON data and its values."""
        return cls(values=values, **dict(data))

    def to_data(self) -> CheckpointData:
        """Return the checkpoint as JSON data, without its values."""
        return CheckpointData(**{name: getattr(self, name) for name in CheckpointData.model_fields})

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of the tasks, in order; one that is due several times is listed several times."""
        return tuple(task.node for task in self.tasks)

    @property
    def bytes_sent(self) -> int:
        """Bytes of JSON of the inputs that the tasks were sent."""
        return sum(json_size(task.input) for task in self.tasks if task.sent)

    @property
    def takes_input(self) -> bool:
        """Whether the only task is the start node's, which writes the input."""
        return self.nodes == (START,)


class CheckpointData(Data):
    """A `Checkpoint` as JSON data, without its values."""

    id: str
    parent_id: str | None = None
    step: int
    source: Source
    created_at: str
    tasks: tuple[Task, ...] = ()
    joins: dict[str, tuple[str, ...]] = {}
    deferred: tuple[str, ...] = ()
    writes: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    input_stamps: dict[str, str] = {}
    forked_from: str | None = None
    versions: dict[str, str] = {}
    stamps: dict[str, str] = {}

    @model_serializer(mode="wrap")
    def _without_known_ids(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what tells nothing: where a task was planned if that is here, and the id that it has then."""
        data: dict[str, Any] = serialize(self)
        if "tasks" not in data:
            return data
        sent = 0
        for task, own in zip(data["tasks"], self.tasks, strict=True):
            path = str(sent) if own.sent else ""
            sent += own.sent
            if own.checkpoint_id == self.id:
                del task["checkpoint_id"]
                if own.id == task_id(self.id, own.node, path=path):
                    del task["id"]
        return data

    @model_validator(mode="before")
    @classmethod
    def _with_known_ids(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("tasks"), list):
            return data
        tasks, sent, own_id = [], 0, data.get("id", "")
        for task in data["tasks"]:
            if isinstance(task, Mapping):
                is_sent = bool(task.get("sent"))
                own = task_id(str(own_id), str(task.get("node")), path=str(sent) if is_sent else "")
                sent += is_sent
                task = (
                    {"id": own, "checkpoint_id": own_id, **task}
                    if "id" not in task
                    else {"checkpoint_id": own_id, **task}
                )
            tasks.append(task)
        return {**data, "tasks": tasks}

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of the tasks, in order."""
        return tuple(task.node for task in self.tasks)


class InterruptRequest(Data):
    """A node's request for an answer from outside, made by ``interrupt(value)``."""

    id: str
    value: Any = None
    timeout: float | None = None
    """Seconds after which the default becomes the answer."""
    default: Any = None
    has_default: bool = False
    deadline: str | None = None
    """When the timeout ends: ISO 8601, UTC."""
    nested: Any = None
    """What graphs inside of the node have done so far, as JSON data that the node's code understands."""


class TaskInterrupts(Data):
    """The interrupts of one task, in the order of its node's calls, and the answers to all of them or all but one."""

    requests: tuple[InterruptRequest, ...] = ()
    answers: tuple[Any, ...] = ()

    @property
    def nested(self) -> Any:
        """What graphs inside of the node had done when it was last interrupted."""
        return self.requests[-1].nested if self.requests else None

    def with_request(self, request: InterruptRequest) -> TaskInterrupts:
        """Return a copy with one more request, which alone says what graphs inside of the node have done."""
        before = (each if each.nested is None else each.model_copy(update={"nested": None}) for each in self.requests)
        return self.model_copy(update={"requests": (*before, request)})

    @property
    def waiting(self) -> InterruptRequest | None:
        """The interrupt that waits for an answer, if there is one."""
        return self.requests[-1] if len(self.requests) > len(self.answers) else None


class TaskResult(Data):
    """What a task's run ended with: its writes and where they lead, or an interrupt."""

    writes: tuple[dict[str, Any], ...] = ()
    """Values by channel, as JSON data: one mapping for each that the node returned."""
    goto: tuple[str, ...] = ()
    """The nodes that its routers chose."""
    sends: tuple[SentTask, ...] = ()
    """The nodes that run next with an input of their own."""
    unrouted: bool = False
    """Whether its routers have not been asked yet, because a reducer failed on what they would see."""
    changes: dict[str, Change | Written] = {}
    """For channels with a custom fold: what the task's own writes make of the value that the task started from."""
    changes_from: dict[str, str] = {}
    """The version of each of these values (`Checkpoint.versions`). The engine sets it."""
    stamps: dict[str, str] = {}
    """The stamps of channels that the task wrote or proved; empty if all of them are what the run's spec declares."""
    proved: bool = False
    """Whether its code proved all values of the checkpoint, because they were recorded under other types."""
    interrupt: InterruptRequest | None = None
    """The request that the node waits for. If set, the task has not finished."""

    @property
    def channels(self) -> frozenset[str]:
        """The names of the channels that the task wrote."""
        return frozenset(name for write in self.writes for name in write)

    @property
    def merged(self) -> dict[str, Any] | None:
        """All writes as one mapping, for snapshots; `None` if there are none.

        Several writes to one channel become ``{"$writes": [...]}``, as in LangGraph.
        """
        if not self.writes:
            return None
        by_channel: dict[str, list[Any]] = {}
        for write in self.writes:
            for name, value in write.items():
                by_channel.setdefault(name, []).append(value)
        return {name: values[0] if len(values) == 1 else {SEVERAL: values} for name, values in by_channel.items()}

    def change(self, channel: str) -> Change | None:
        """Return what the task's writes make of a channel with a custom fold; `None` if the task does not say."""
        change = self.changes.get(channel)
        if not isinstance(change, Written):
            return change
        return change.with_write(next(write[channel] for write in self.writes if channel in write))

    def starting_from(self, versions: Mapping[str, str]) -> TaskResult:
        """Return the result with the versions of the values that its changes start from."""
        if not self.changes:
            return self
        return self.model_copy(update={"changes_from": {name: versions.get(name, "") for name in self.changes}})


class TaskFailure(Data):
    """Why a task failed after its last attempt."""

    error_type: str
    """``module:qualname`` of the exception."""
    error_message: str
    error_repr: str | None = None
    """``repr()`` of the exception; `None` if it is the name of the type with the message."""
    traceback: str = ""
    attempts: int = 1
    error: dict[str, Any] | None = None
    """The exception in its wire form if it is a `StepgraphError`."""

    @property
    def type_name(self) -> str:
        """The exception's name: ``ConnectionError``."""
        return self.error_type.partition(":")[2] or self.error_type

    @property
    def summary(self) -> str:
        """The exception's name and message, for people: ``ConnectionError: no route``."""
        name = self.type_name
        return f"{name}: {self.error_message}" if self.error_message else name

    @property
    def representation(self) -> str:
        """``repr()`` of the exception, as LangGraph shows it: ``ConnectionError('no route')``."""
        return repr_of(self.error_type, self.error_message) if self.error_repr is None else self.error_repr


def repr_of(error_type: str, message: str) -> str:
    """Return what ``repr()`` shows of an exception whose only argument is its message."""
    name = error_type.rpartition(":")[2].rpartition(".")[2]
    return f"{name}({message!r})" if message else f"{name}()"
