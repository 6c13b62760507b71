"""A thread on one page, in Markdown: what the Web UI shows as a run's current details."""

from __future__ import annotations

import itertools
import json

from stepgraph.engine.checkpoint import Ask, Checkpoint
from stepgraph.engine.thread import Thread

SHOWN_STEPS = 10
TEXT_LIMIT = 500
"""Characters of a question that are shown."""


def page(
    thread: Thread, *, running: bool, errors: list[str], queued: int = 0, rows: dict[str, str] | None = None
) -> str:
    """Where the thread stands, what it waits for and how to answer, its last super-steps.

    A page is made at every super-step, so ``rows`` keeps those of the last one's table, by checkpoint.
    """
    parts = [_standing(thread, running)]
    parts += [_question(ask, several=len(thread.questions) > 1) for ask in thread.questions]
    if thread.paused and not thread.questions:
        parts.append("To go on, send the signal `resume` with the input\n\n```json\n{}\n```")
    if queued:
        parts.append(f"Inputs that wait in line: {queued}. Each begins a run of its own once the thread stands still.")
    parts.append(_steps(thread, {} if rows is None else rows))
    if errors:
        parts.append("Signals that could not be honoured:\n\n" + "\n".join(f"- {error}" for error in errors))
    return "\n\n".join(parts)


def status(thread: Thread, *, running: bool) -> str:
    """In one word: ``running``, ``waiting``, ``failed`` or ``complete``."""
    if thread.questions or thread.paused:
        return "waiting" if not running else "running"
    if thread.failures:
        return "failed"
    return "complete" if thread.finished else "running" if running else "waiting"


def waits_for(thread: Thread) -> str | None:
    """The first node that waits for people."""
    if waiting := sorted(thread.waiting()):
        return waiting[0]
    return thread.head.triggers[0] if thread.paused and thread.head else None


def _standing(thread: Thread, running: bool) -> str:
    head = thread.head
    if head is None:
        return "Nothing has happened on this thread yet."
    where = f"**{status(thread, running=running)}** after step {head.step}"
    then = ", ".join(f"`{name}`" for name in head.triggers)
    lines = [f"{where}; next: {then}." if then else f"{where}; the graph is done."]
    lines += [f"`{name}` failed: {_cell(failure.summary)}" for name, failure in thread.failures.items()]
    return "\n\n".join(lines)


def _question(ask: Ask, *, several: bool) -> str:
    asked = json.dumps(ask.value, ensure_ascii=False, indent=2)
    answer = json.dumps({"resume": {ask.id: "your answer"} if several else "your answer"})
    until = f"Until {ask.deadline[:16]} UTC; then the answer is `{json.dumps(ask.default)}`. " if ask.deadline else ""
    return (
        f"Waits for an answer to\n\n```json\n{asked[:TEXT_LIMIT]}\n```\n\n"
        f"{until}To answer, send the signal `resume` with the input"
        f"\n\n```json\n{answer}\n```"
    )


def _steps(thread: Thread, rows: dict[str, str]) -> str:
    shown = {
        checkpoint.id: rows.get(checkpoint.id) or _row(checkpoint)
        for checkpoint in itertools.islice(thread.newest_first(), SHOWN_STEPS)
    }
    rows.clear()
    rows.update(shown)
    return "\n".join(["| step | source | wrote | next |", "|---|---|---|---|", *shown.values()])


def _row(checkpoint: Checkpoint) -> str:
    wrote = "; ".join(f"`{node}`: {', '.join(values or ())}" for node, values in (checkpoint.writes or {}).items())
    then = ", ".join(f"`{name}`" for name in checkpoint.triggers)
    return f"| {checkpoint.step} | {checkpoint.source} | {_cell(wrote)} | {_cell(then)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:TEXT_LIMIT]
