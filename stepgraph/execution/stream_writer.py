"""``writer``: what a node sends to those who follow it while it runs.

Owns the function that a node gets, and what is sent with each value: the task and the attempt that it comes from, so
that a reader can tell attempts apart. Refuses to know how a value reaches a reader: the process passes in a sink.
Without a sink, nobody reads, and a value that is written goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepgraph.protocol.task_request import TaskRequest

StreamWriter = Callable[[Any], None]
"""What a node calls to send a value to those who follow the thread. As in LangGraph, without readers it does nothing.
It is the annotation of a parameter, too: ``def node(state, writer: StreamWriter)``."""


@dataclass(frozen=True)
class StreamedValue:
    """A value that an attempt at a task has written."""

    thread_id: str
    run_id: str
    checkpoint_id: str
    step: int
    node: str
    task_id: str
    attempt: int
    value: Any


StreamSink = Callable[[StreamedValue], None]
"""Takes the values that nodes write. It may be called on any thread, and must not block."""


def no_stream(value: Any) -> None:
    """Write a value that nobody reads."""


def writer_to(
    sink: StreamSink | None, request: TaskRequest, attempt: int, written: Callable[[], None] | None = None
) -> StreamWriter:
    """Return the writer of one attempt at a task. ``written`` is called at each value, also without a sink."""
    if sink is None and written is None:
        return no_stream

    def write(value: Any) -> None:
        if written is not None:
            written()
        if sink is None:
            return
        sink(
            StreamedValue(
                thread_id=request.thread_id,
                run_id=request.run_id,
                checkpoint_id=request.checkpoint_id,
                step=request.step,
                node=request.node,
                task_id=request.task_id,
                attempt=attempt,
                value=value,
            )
        )

    return write
