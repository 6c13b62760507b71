"""Presents what stepgraph returns and raises as LangGraph does. These are all differences that are translated:

- Steps count from 0; LangGraph begins at -1.
- ``metadata`` says who wrote what (``writes``), and not the ``parents``, which only subgraphs have.
- A config has no ``checkpoint_ns``; that of a thread is always the empty text.
- Before an input is applied, stepgraph shows no values; LangGraph shows the zeros of keys with a reducer.
- An unknown thread has no metadata, and in LangGraph no created_at either.
- Snapshots, tasks and interrupts are classes of stepgraph.
- A node's exception is raised as a `NodeError` that is also of its type; LangGraph raises the exception itself.
- stepgraph's own errors have other classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import langgraph.errors
import langgraph.graph
from langgraph.types import Interrupt, PregelTask, StateSnapshot

import stepgraph.errors
from stepgraph import START
from stepgraph.errors import NodeError, StepgraphError
from stepgraph.testing import memory_run

ERRORS: dict[type[StepgraphError], type[Exception]] = {
    stepgraph.errors.GraphRecursionError: langgraph.errors.GraphRecursionError,
    stepgraph.errors.InvalidUpdateError: langgraph.errors.InvalidUpdateError,
    stepgraph.errors.EmptyInputError: langgraph.errors.EmptyInputError,
}

_raised: dict[tuple[str, str], BaseException] = {}
"""The exceptions that nodes have raised, by what an error says of them."""

_failure_from = memory_run.failure_from


def _remember(error: BaseException, *, attempts: int) -> Any:
    failure = _failure_from(error, attempts=attempts)
    _raised[failure.error_type, failure.error_message] = error
    return failure


memory_run.failure_from = _remember


def shown_error(error: StepgraphError) -> BaseException:
    """Return the exception that LangGraph would raise."""
    if isinstance(error, NodeError):
        return _raised.get((error.parts["error_type"], error.parts["error_message"]), error)
    for ours, theirs in ERRORS.items():
        if isinstance(error, ours):
            return theirs(str(error))
    return error


def shown_result(result: Any) -> Any:
    """Return what `invoke` returned, with LangGraph's interrupts."""
    if isinstance(result, dict) and "__interrupt__" in result:
        return {**result, "__interrupt__": list(shown_interrupts(result["__interrupt__"]))}
    return result


def shown_interrupts(interrupts: Any) -> tuple[Interrupt, ...]:
    """Return LangGraph's interrupts for ours."""
    return tuple(Interrupt(value=interrupt.value, id=interrupt.id) for interrupt in interrupts)


def shown_config(config: Any) -> Any:
    """Return a config with the namespace that LangGraph's have."""
    if config is None:
        return None
    ids = config["configurable"]
    if "checkpoint_id" not in ids:
        return config
    return {**config, "configurable": {"checkpoint_ns": "", **ids}}


def shown_snapshot(snapshot: Any, zeros: Mapping[str, Any]) -> StateSnapshot:
    """Return LangGraph's snapshot for ours. ``zeros`` are the values of an empty state."""
    metadata = snapshot.metadata
    if metadata is not None:
        metadata = {"parents": {}, **{key: value for key, value in metadata.items() if key != "writes"}}
        metadata["step"] -= 1
    return StateSnapshot(
        values=_shown_values(snapshot, zeros),
        next=snapshot.next,
        config=shown_config(snapshot.config),
        metadata=metadata,
        created_at=snapshot.created_at,
        parent_config=shown_config(snapshot.parent_config),
        tasks=tuple(_shown_task(task) for task in snapshot.tasks),
        interrupts=shown_interrupts(snapshot.interrupts),
    )


def _shown_values(snapshot: Any, zeros: Mapping[str, Any]) -> Any:
    if snapshot.next != (START,):
        return snapshot.values
    return {**zeros, **snapshot.values} if "__root__" not in zeros else snapshot.values or zeros["__root__"]


def _shown_task(task: Any) -> PregelTask:
    interrupts = shown_interrupts(task.interrupts)
    return PregelTask(task.id, task.name, task.path, task.error, interrupts, task.state, task.result)


def zeros_of(builder: langgraph.graph.StateGraph) -> dict[str, Any]:
    """Return the values that LangGraph gives to a state's keys before anything is written."""
    return {key: channel.get() for key, channel in builder.channels.items() if channel.is_available()}


def our_filter(filter: Any) -> Any:
    """Return what a test looks for in metadata, in our numbers."""
    return {**filter, "step": filter["step"] + 1} if filter and "step" in filter else filter
