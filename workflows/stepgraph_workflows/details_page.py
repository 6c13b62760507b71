"""A thread on one page, in Markdown: what the Web UI shows as a run's current details."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint, InterruptRequest
from stepgraph.engine.thread_view import ThreadView
from stepgraph.protocol.status import ThreadStatus

SHOWN_STEPS = 10
SHOWN_TASKS = 10
"""How many nodes that are due, failures, interrupts and refused signals are shown of each. A super-step may have
thousands."""
MAX_TEXT = 500
"""Characters of an interrupt's value, of an error, or of a cell, that are shown."""


def page(
    thread: ThreadView,
    *,
    status: ThreadStatus,
    errors: Sequence[str],
    hides_error_texts: bool,
    queued_inputs: int,
    step_rows: dict[str, str],
) -> str:
    """Return the page: the status, the interrupts with how to answer them, the last super-steps, refused signals.

    Args:
        thread: the thread.
        status: its status.
        errors: why signals were refused.
        hides_error_texts: whether to leave out what errors say, which may quote a state.
        queued_inputs: how many inputs wait.
        step_rows: the rows of the last page's table, by checkpoint id; updated in place. A page is made at every
            super-step, and most of its rows stay the same.
    """
    waiting = thread.waiting_interrupts
    parts = [_summary(thread, status, hides_error_texts)]
    parts += [_interrupt(request, several=len(waiting) > 1) for request in waiting[:SHOWN_TASKS]]
    parts += _not_shown(len(waiting), "interrupts")
    if thread.paused and not waiting:
        parts.append("To go on, send the signal `resume` with the input\n\n```json\n{}\n```")
    if queued_inputs:
        parts.append(f"Queued inputs: {queued_inputs}. Each begins a run of its own once the thread is idle.")
    parts.append(_steps(thread, step_rows))
    if errors and hides_error_texts:
        parts.append(f"Signals that were refused: {len(errors)}. The thread's state has the reasons.")
    elif errors:
        lines = [f"- {_cell(error)}" for error in errors[-SHOWN_TASKS:]]
        parts.append("Signals that were refused:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def waits_for(thread: ThreadView) -> str | None:
    """Return the first node that waits at an interrupt or breakpoint."""
    if thread.head is None:
        return None
    waiting = thread.waiting_by_task()
    nodes = sorted(task.node for task in thread.head.tasks if task.id in waiting)
    return nodes[0] if nodes else thread.head.nodes[0] if thread.paused else None


def _summary(thread: ThreadView, status: ThreadStatus, hides_error_texts: bool) -> str:
    head = thread.head
    if head is None:
        return "Nothing has happened on this thread yet."
    where = f"**{status}** after step {head.step}"
    then = _nodes(head)
    lines = [f"{where}; next: {then}." if then else f"{where}; the graph has finished."]
    failed = [(task, failure) for task, _, failure in thread.task_outcomes(head) if failure is not None]
    lines += [
        f"`{task.node}` failed: {_cell(failure.type_name if hides_error_texts else failure.summary)}"
        for task, failure in failed[:SHOWN_TASKS]
    ]
    return "\n\n".join([*lines, *_not_shown(len(failed), "failures")])


def _nodes(checkpoint: Checkpoint) -> str:
    """Return the nodes that a checkpoint has due, as far as there is room for them."""
    names = ", ".join(f"`{task.node}`" for task in checkpoint.tasks[:SHOWN_TASKS])
    more = len(checkpoint.tasks) - SHOWN_TASKS
    return f"{names} and {more:,} more" if more > 0 else names


def _not_shown(count: int, things: str) -> list[str]:
    return [f"{count - SHOWN_TASKS:,} more {things} are not shown here."] if count > SHOWN_TASKS else []


def _interrupt(request: InterruptRequest, *, several: bool) -> str:
    value = json.dumps(request.value, ensure_ascii=False, indent=2)
    answer = json.dumps({"resume": {request.id: "your answer"} if several else "your answer"})
    until = ""
    if request.deadline:
        until = f"Until {request.deadline[:16]} UTC; then the answer is `{json.dumps(request.default)[:MAX_TEXT]}`. "
    return (
        f"Waits for an answer to\n\n```json\n{value[:MAX_TEXT]}\n```\n\n"
        f"{until}To answer, send the signal `resume` with the input"
        f"\n\n```json\n{answer}\n```"
    )


def _steps(thread: ThreadView, step_rows: dict[str, str]) -> str:
    rows = {
        checkpoint.id: step_rows.get(checkpoint.id) or _step_row(checkpoint)
        for checkpoint in itertools.islice(thread.newest_first(), SHOWN_STEPS)
    }
    step_rows.clear()
    step_rows.update(rows)
    return "\n".join(["| step | source | wrote | next |", "|---|---|---|---|", *rows.values()])


def _step_row(checkpoint: Checkpoint) -> str:
    writers = list((checkpoint.writes or {}).items())
    wrote = "; ".join(f"`{node}`: {', '.join(_channels(values))}" for node, values in writers[:SHOWN_TASKS])
    return f"| {checkpoint.step} | {checkpoint.source} | {_cell(wrote)} | {_cell(_nodes(checkpoint))} |"


def _channels(writes: Any) -> list[str]:
    """Return the channels that a node wrote: one mapping, or a list of those of its tasks."""
    by_task = writes if isinstance(writes, list) else [writes]
    return list(dict.fromkeys(name for values in by_task for name in values or ()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:MAX_TEXT]
