"""What commands print: lines and tables for people, JSON for machines.

Lines are never wrapped, so addresses and messages can be copied. Tables fit themselves to a terminal, and are as wide
as they need to be when the output goes elsewhere.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepgraph.protocol.snapshot import StateSnapshot, TaskSnapshot

UNLIMITED = 10_000
"""Columns of what is no terminal, unless COLUMNS says how many."""

NARROW = 64
"""Columns below which tables are no pleasure."""

SHORT_ID = 11
"""Characters of a checkpoint id shown in tables: enough to tell a thread's checkpoints apart, and taken as an id."""

console = Console(highlight=False, width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else UNLIMITED)
errors = Console(highlight=False, stderr=True)


def say(line: str, *, to: Console = console) -> None:
    """One line (or a few) of markup, at once; what is not markup must be escaped."""
    to.print(line, soft_wrap=True)


def heading(text: str) -> None:
    """A title over what follows."""
    say(f"\n[bold]{escape(text)}[/]")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(_plain(value), indent=2, default=str, ensure_ascii=not _speaks_unicode()), flush=True)


def step_line(snapshot: StateSnapshot, took: timedelta | None = None) -> str:
    """One finished super-step: who wrote, how long it took, and what is next."""
    metadata = snapshot.metadata or {}
    what = ", ".join(metadata["writes"] or [metadata["source"]])
    then = f"then {', '.join(snapshot.next)}" if snapshot.next else "done"
    seconds = f"{took.total_seconds():.2f} s" if took is not None else ""
    return f"[bold]step {metadata['step']:<3}[/] {seconds:>9}  {escape(what)}  [dim]{escape(then)}[/]"


def values_block(values: dict[str, Any]) -> str:
    """The values, as JSON that people can read."""
    return escape(json.dumps(values, indent=2, default=str, ensure_ascii=False))


def state_block(snapshot: StateSnapshot) -> str:
    """A snapshot in full."""
    if snapshot.metadata is None:
        return "There is no checkpoint: nothing has been done on this thread yet."
    metadata = snapshot.metadata
    lines = [
        f"[bold]step {metadata.get('step')}[/]",
        f"source      {metadata.get('source')}, {_time(snapshot.created_at)}",
        f"checkpoint  {snapshot.checkpoint_id}",
        f"next        {escape(', '.join(snapshot.next)) or 'nothing: the graph is done'}",
    ]
    lines += [f"task        {escape(_task(task))}" for task in snapshot.tasks]
    return "\n".join([*lines, "values", values_block(snapshot.values)])


def show_history(snapshots: Iterable[StateSnapshot], *, values: bool = False) -> None:
    """A thread's history, newest first."""
    rows = []
    for snapshot in snapshots:
        metadata = snapshot.metadata or {}
        failed = [task.name for task in snapshot.tasks if task.error]
        row = [
            str(metadata.get("step")),
            str(metadata.get("source")),
            _wrote(metadata.get("writes")),
            ", ".join(f"{name} (failed)" if name in failed else name for name in snapshot.next),
            _time(snapshot.created_at),
            (snapshot.checkpoint_id or "")[-SHORT_ID:],
        ]
        if values:
            row.append(json.dumps(snapshot.values, default=str, ensure_ascii=False))
        rows.append(row)
    columns = ["step", "source", "wrote", "next", "time", "checkpoint"]
    if values:
        _show_rows([*columns, "values"], rows, narrow=2 * NARROW)
    else:
        _show_rows(columns, rows)


def show_threads(threads: Iterable[dict[str, Any]]) -> None:
    """Threads, the latest first."""
    rows = [
        [
            *(thread["thread_id"], thread["graph"], thread["status"]),
            *(_time(thread["started"]), _duration(thread["started"], thread["ended"])),
        ]
        for thread in threads
    ]
    _show_rows(["thread", "graph", "status", "started", "took"], rows)


def snapshot_json(snapshot: StateSnapshot) -> dict[str, Any]:
    """A snapshot as JSON data."""
    return {**snapshot._asdict(), "tasks": [task._asdict() for task in snapshot.tasks]}


def _show_rows(columns: list[str], rows: list[list[str]], *, narrow: int = NARROW) -> None:
    """A table; on a terminal too narrow for one, a paragraph for each row."""
    if console.width < narrow:
        for row in rows:
            say(
                "\n" + "\n".join(f"{name:<10}  {escape(cell)}" for name, cell in zip(columns, row, strict=True) if cell)
            )
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(
            name,
            overflow="fold",
            no_wrap=name in ("time", "checkpoint", "started"),
            justify="right" if name in ("step", "took") else "left",
        )
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _plain(value: Any) -> Any:
    if isinstance(value, StateSnapshot):
        return snapshot_json(value)
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_plain(item) for item in value]
    return value


def _wrote(writes: dict[str, Any] | None) -> str:
    if not writes:
        return ""
    return ", ".join(f"{node}: {', '.join(written)}" if written else node for node, written in writes.items())


def _task(task: TaskSnapshot) -> str:
    if task.error:
        return f"{task.name}: failed, {task.error}"
    if task.interrupts:
        asked = json.dumps(task.interrupts[-1].value, default=str, ensure_ascii=False)
        return f"{task.name}: asks {asked}"
    return f"{task.name}: {'finished' if task.result is not None else 'to run'}"


def _time(created_at: str | None) -> str:
    """A time of day in the reader's zone, with the date unless it is today."""
    if not created_at:
        return ""
    at = datetime.fromisoformat(created_at).astimezone()
    return at.strftime("%H:%M:%S" if at.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


def _duration(started: str, ended: str | None) -> str:
    if ended is None:
        return ""
    took = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    if took < timedelta(minutes=1):
        return f"{took.total_seconds():.2f} s"
    return str(timedelta(seconds=round(took.total_seconds())))


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")
