"""Matches resume values with the interrupts that wait for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepgraph.engine.checkpoint import InterruptRequest, TaskInterrupts
from stepgraph.errors import InvalidUpdateError


def with_answers(
    interrupts: Mapping[str, TaskInterrupts],
    waiting_interrupts: Sequence[InterruptRequest],
    resume: Any,
    *,
    thread_id: str,
) -> dict[str, TaskInterrupts]:
    """Return the interrupts of a checkpoint's tasks with the answers that a resume brings.

    Args:
        interrupts: the interrupts and answers so far, by task id.
        waiting_interrupts: those of them that wait for an answer.
        resume: the answer to the only interrupt that waits, or a mapping from interrupt id to answer.
        thread_id: for error messages.

    Raises:
        InvalidUpdateError: no interrupt waits; or several do, and the resume value does not say which one it is for; or
            an interrupt id is unknown.
    """
    answers_by_id = _answers_by_id([request.id for request in waiting_interrupts], resume, thread_id)
    answered = dict(interrupts)
    for task_id, task_interrupts in interrupts.items():
        request = task_interrupts.waiting
        if request is not None and request.id in answers_by_id:
            answers = (*task_interrupts.answers, answers_by_id[request.id])
            answered[task_id] = task_interrupts.model_copy(update={"answers": answers})
    return answered


def _answers_by_id(waiting_ids: Sequence[str], resume: Any, thread_id: str) -> dict[str, Any]:
    if not waiting_ids:
        raise InvalidUpdateError(
            f"Thread {thread_id!r} does not wait for an answer. If a node failed with an earlier answer, have it ask "
            "again by a replay of the head: invoke(None, get_state(config).config), or `starter.py replay`.",
            thread_id=thread_id,
        )
    if isinstance(resume, Mapping) and resume and all(isinstance(key, str) and _is_id(key) for key in resume):
        unknown = [key for key in resume if key not in waiting_ids]
        if unknown:
            raise InvalidUpdateError(
                f"No interrupt {unknown[0]!r} waits for an answer on thread {thread_id!r}; these do: "
                f"{', '.join(map(repr, waiting_ids))}.",
                thread_id=thread_id,
            )
        return dict(resume)
    if len(waiting_ids) == 1:
        return {waiting_ids[0]: resume}
    raise InvalidUpdateError(
        f"{len(waiting_ids)} interrupts wait for answers on thread {thread_id!r}. Say which is meant: a mapping "
        f"from id to answer, of {', '.join(map(repr, waiting_ids))}.",
        thread_id=thread_id,
    )


def _is_id(text: str) -> bool:
    """Return whether a mapping's key looks like an interrupt id, ours or LangGraph's. If not, it is an answer."""
    return re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{32}", text) is not None
