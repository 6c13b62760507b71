"""Values that break programs, each with a name: a failing example shows the name, not a megabyte."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from tests.attack.behaviours import endless, nested


class Scene(Protocol):
    """What a value may refer to: the thread under attack."""

    thread_id: str
    checkpoint_id: str
    task_id: str
    interrupt_id: str
    run_id: str
    record: Mapping[str, Any]

    def mark(self) -> str:
        """Return a text that no other call of the program writes."""
        ...


@dataclass(frozen=True, eq=False)
class Named:
    """A value that stands in a program by its name.

    Args:
        name: what a failing example shows.
        make: returns the value for the thread under attack.
        text: the value as JSON text, where ``json.dumps`` does not write it.
    """

    name: str
    make: Callable[[Scene], Any]
    text: str | None = None

    def __repr__(self) -> str:
        return self.name

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # hypothesis would print how it was made
        printer.text(repr(self))


def value_of(part: Any, scene: Scene) -> Any:
    """Return a drawn value, with every `Named` replaced by its value."""
    if isinstance(part, Named):
        return part.make(scene)
    if type(part) is dict:
        return {value_of(key, scene): value_of(value, scene) for key, value in part.items()}
    if type(part) in (list, tuple):
        return type(part)(value_of(each, scene) for each in part)
    return part


def text_of(part: Any, scene: Scene) -> str:
    """Return a drawn value as the JSON text that a sender may type."""
    if isinstance(part, Named):
        return part.text if part.text is not None else json.dumps(part.make(scene))
    if isinstance(part, dict):
        pairs = (f"{json.dumps(str(key))}: {text_of(value, scene)}" for key, value in part.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(part, list | tuple):
        return "[" + ", ".join(text_of(each, scene) for each in part) + "]"
    return json.dumps(part)


def payload_of(part: Any, scene: Scene) -> RawValue:
    """Return a drawn value as the payload of a message: JSON, unless it is a payload already."""
    if isinstance(part, Named):
        made = part.make(scene) if part.text is None else None
        if isinstance(made, Payload):
            return RawValue(made)
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=text_of(part, scene).encode()))


def _payload(name: str, data: bytes = b"{}", **metadata: bytes) -> Named:
    return Named(name, lambda scene: Payload(metadata=metadata, data=data))


def _same(name: str, value: Any, text: str | None = None) -> Named:
    return Named(name, lambda scene: value, text)


def levels(depth: int) -> Named:
    """Return lists nested this deep."""
    return Named(f"levels({depth})", lambda scene: nested(depth), "[" * depth + "1" + "]" * depth)


def characters(count: int) -> Named:
    """Return a text of this length."""
    return Named(f"characters({count})", lambda scene: "x" * count)


huge_number = _same("10**6000", 10**6000, "1" + "0" * 6000)

MARK = Named("MARK", lambda scene: scene.mark())
"""A text that is counted in the thread's history afterwards."""

THREAD = Named("THREAD", lambda scene: scene.thread_id)
FORK = Named("FORK", lambda scene: f"{scene.thread_id}-fork")
CONFIG = Named("CONFIG", lambda scene: {"configurable": {"thread_id": scene.thread_id}})
HEAD = Named("HEAD", lambda scene: scene.checkpoint_id)
FIRST = Named("FIRST", lambda scene: f"{scene.checkpoint_id.rpartition('.')[0]}.000001")
BEYOND = Named("BEYOND", lambda scene: f"{scene.checkpoint_id.rpartition('.')[0]}.000999")
TASK = Named("TASK", lambda scene: scene.task_id)
INTERRUPT = Named("INTERRUPT", lambda scene: scene.interrupt_id)
RUN = Named("RUN", lambda scene: scene.run_id)
RECORD = Named("RECORD", lambda scene: dict(scene.record))

JSON_ODDITIES = (
    _same("NaN", float("nan")),
    _same("Infinity", float("inf")),
    _same("1e400", float("inf"), "1e400"),
    _same("10**400", 10**400, "1" + "0" * 400),
    huge_number,
    _same("surrogate", "\ud800"),
    _same("NUL", "\0"),
    _same("{surrogate: 1}", {"\ud800": 1}, '{"\\ud800": 1}'),
    *(levels(depth) for depth in (99, 101, 196, 300, 1200)),
    characters(100_000),
    characters(1_899_000),
)
"""Values that JSON text can hold, and what reads it may not."""

PYTHON_ODDITIES = (
    *JSON_ODDITIES,
    _same("object()", object()),
    _same("b'\\xff'", b"\xff"),
    _same("lambda", lambda: None),
    _same("{1, 2}", {1, 2}),
    _same("{5: 1}", {5: 1}),
    _same("{None: {}}", {None: {}}),
    _same("Decimal('NaN')", decimal.Decimal("NaN")),
    _same("datetime.max", datetime.datetime.max),
    _same("uuid", uuid.UUID(int=7)),
    _same("int", int),
    Named("endless()", lambda scene: endless()),
    Named("iter(())", lambda scene: iter(())),
)
"""Values that a Python caller can pass."""

empty_payload = _payload("empty payload", b"")

PAYLOADS = (
    empty_payload,
    _payload("no encoding", b"{}"),
    _payload("encoding \\xff", encoding=b"\xff"),
    _payload("encoding unknown", encoding=b"binary/encrypted"),
    _payload("binary/null", b"", encoding=b"binary/null"),
    _payload("binary/plain", b"\x00\xff", encoding=b"binary/plain"),
    _payload("json/protobuf", b"{}", encoding=b"json/protobuf", messageType=b"temporal.api.common.v1.Payload"),
    _payload("broken JSON", b'{"values": ', encoding=b"json/plain"),
    _payload("no UTF-8", b'"\xff"', encoding=b"json/plain"),
    _payload("key twice", b'{"values": {"count": 1}, "values": 5}', encoding=b"json/plain"),
)
"""Arguments of messages that are no JSON, or say so."""
