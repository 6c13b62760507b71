"""Graphs that run inside of a node: what they have done so far, so that an interrupt in one of them loses nothing.

LangGraph runs such a graph by itself, within the activity of its node, and keeps its checkpoints in the saver that the
node's config has. That saver lives as long as the attempt. If the node is interrupted, its content goes with the
interrupt as JSON data, and comes back with the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from langgraph.checkpoint.memory import InMemorySaver
from pydantic_core import from_json, to_json

from stepgraph.errors import SerializationError
from stepgraph.langgraph import private_names as names
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.sizes import TOO_DEEP, is_too_deep
from stepgraph.serde.tagged_values import TaggedCodec

REFUSED: Final = ""
"""Stands in `NestedGraphs.asked` for an answer that does not fit its interrupt."""

_TAGGED: Final = "tagged"
_REFUSED: Final = "refused"
"""How a value is stored that cannot travel: its text is the reason."""


class TaggedSerializer:
    """Serializes the values of a saver by a codec. A value that cannot travel is an error only when it has to."""

    def __init__(self, codec: TaggedCodec) -> None:
        self._codec = codec

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return a value as JSON text."""
        try:
            return _TAGGED, to_json(self._codec.encode(obj))
        except RoundTripError as error:
            return _REFUSED, str(error).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return a new value from JSON text; `None` for one that could not travel, a node's exception for example."""
        kind, text = data
        return self._codec.decode(from_json(text)) if kind == _TAGGED else None


@dataclass
class NestedGraphs:
    """The graphs that one attempt at a task calls, and the answers that the task has so far.

    Args:
        thread_id: the thread.
        codec: for the values of these graphs.
        answers: the answers to all interrupts of the task, in order.
        recorded: what `export` returned when the task was last interrupted.
    """

    thread_id: str
    codec: TaggedCodec
    answers: Sequence[Any]
    recorded: Mapping[str, Any] | None
    saver: InMemorySaver = field(init=False)

    def __post_init__(self) -> None:
        self.saver = InMemorySaver(serde=TaggedSerializer(self.codec))
        recorded = self.recorded or {}
        self.asked: list[str | None] = [*recorded.get("asked", ())]
        """For each answer: the id of the interrupt of such a graph; `None` for one of the node itself; `REFUSED`."""
        self.asked += [None] * (len(self.answers) - len(self.asked))
        for namespace, id, parent, checkpoint, metadata in recorded.get("checkpoints", ()):
            self.saver.storage[self.thread_id][namespace][id] = (_loaded(checkpoint), _loaded(metadata), parent)
        for namespace, id, task_id, index, channel, value, path in recorded.get("writes", ()):
            written = self.saver.writes[self.thread_id, namespace, id]
            written[task_id, index] = (task_id, channel, _loaded(value), path)
        for namespace, channel, version, kind, value in recorded.get("blobs", ()):
            stored = _loaded(value) if kind == _TAGGED else (kind, b"")
            self.saver.blobs[self.thread_id, namespace, channel, version] = stored

    @property
    def own_answers(self) -> list[Any]:
        """The answers to the node's own interrupts."""
        return [answer for answer, asked in zip(self.answers, self.asked, strict=False) if asked is None]

    def refuse_last_answer(self) -> bool:
        """Leave the last answer aside from now on; return false if there is none that was not left aside before."""
        if not self.answers or self.asked[len(self.answers) - 1] == REFUSED:
            return False
        self.asked[len(self.answers) - 1] = REFUSED
        return True

    def config(self) -> dict[str, Any]:
        """Return the keys of the node's config by which these graphs find their saver and their answers."""
        config: dict[str, Any] = {names.CHECKPOINTER: self.saver}
        if self.answers and self.saver.storage:
            answered = zip(self.asked, self.answers, strict=False)
            config[names.RESUMING] = True
            config[names.RESUME_MAP] = {asked: answer for asked, answer in answered if asked not in (None, REFUSED)}
        return config

    def export(self, node: str, asked: str | None) -> dict[str, Any] | None:
        """Return what has to be kept until the answer comes, as JSON data; `None` if there is nothing.

        Of each graph, the latest checkpoint is kept.

        Args:
            node: the name of the task's node, for the message.
            asked: the id of the interrupt that waits, if it is that of such a graph.

        Raises:
            SerializationError: a value of such a graph cannot travel.
        """
        checkpoints: list[Any] = []
        writes: list[Any] = []
        blobs: list[Any] = []
        for namespace, stored in self.saver.storage.get(self.thread_id, {}).items():
            if not stored:
                continue
            id = max(stored)
            checkpoint, metadata, parent = stored[id]
            checkpoints.append([namespace, id, parent, _dumped(node, checkpoint), _dumped(node, metadata)])
            for (task_id, index), (_, channel, value, path) in self.saver.writes[self.thread_id, namespace, id].items():
                writes.append([namespace, id, task_id, index, channel, _dumped(node, value), path])
            versions = self.saver.serde.loads_typed(checkpoint)["channel_versions"]
            for channel, version in versions.items():
                kind, text = self.saver.blobs.get((self.thread_id, namespace, channel, version), ("empty", b""))
                data = None if kind == "empty" else _dumped(node, (kind, text))
                blobs.append([namespace, channel, version, kind, data])
        asked_before = self.asked[: len(self.answers)]
        if not checkpoints and REFUSED not in asked_before:
            return None
        return {"asked": [*asked_before, asked], "checkpoints": checkpoints, "writes": writes, "blobs": blobs}


def _dumped(node: str, stored: tuple[str, bytes]) -> Any:
    kind, text = stored
    if kind == _REFUSED:
        raise SerializationError(
            f"A graph inside of node {node!r} waits for an answer, and has a value that cannot travel to another "
            f"process: {text.decode()}.",
            nodes=[node],
        )
    data = from_json(text)
    if is_too_deep(data):
        raise SerializationError(
            f"A graph inside of node {node!r} waits for an answer, and has a value that cannot travel to another "
            f"process: {TOO_DEEP}.",
            nodes=[node],
        )
    return data


def _loaded(data: Any) -> tuple[str, bytes]:
    return _TAGGED, to_json(data)
