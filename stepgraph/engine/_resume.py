"""Which question an answer is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepgraph.engine.checkpoint import InterruptRequest, TaskInterrupts
from stepgraph.errors import InvalidUpdateError


def answered(
    interrupts: Mapping[str, TaskInterrupts],
    waiting_interrupts: Sequence[InterruptRequest],
    resume: Any,
    *,
    thread_id: str,
) -> dict[str, TaskInterrupts]:
    """The interviews with an answer to the one question that waits, or to several by a mapping from their ids.

    Raises:
        InvalidUpdateError: nothing waits, several do and none is named, or an id is not one of theirs.
    """
    given = _by_id([ask.id for ask in waiting_interrupts], resume, thread_id)
    after = dict(interrupts)
    for task_id, asked in interrupts.items():
        if asked.waiting is not None and asked.waiting.id in given:
            answers = (*asked.answers, given[asked.waiting.id])
            after[task_id] = asked.model_copy(update={"answers": answers})
    return after


def _by_id(ids: Sequence[str], resume: Any, thread_id: str) -> dict[str, Any]:
    if not ids:
        raise InvalidUpdateError(f"Thread {thread_id!r} does not wait for an answer.", thread_id=thread_id)
    if isinstance(resume, Mapping) and resume and all(isinstance(key, str) and _is_id(key) for key in resume):
        unknown = [key for key in resume if key not in ids]
        if unknown:
            raise InvalidUpdateError(
                f"No interrupt {unknown[0]!r} waits for an answer on thread {thread_id!r}; these do: "
                f"{', '.join(map(repr, ids))}.",
                thread_id=thread_id,
            )
        return dict(resume)
    if len(ids) == 1:
        return {ids[0]: resume}
    raise InvalidUpdateError(
        f"{len(ids)} interrupts wait for answers on thread {thread_id!r}. Say which is meant: a mapping "
        f"from id to answer, of {', '.join(map(repr, ids))}.",
        thread_id=thread_id,
    )


def _is_id(text: str) -> bool:
    """Whether a text looks like an interrupt's id: an answer may itself be a mapping."""
    return re.fullmatch(r"[0-9a-f]{16}", text) is not None
