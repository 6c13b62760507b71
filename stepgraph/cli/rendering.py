"""Prints what commands show: lines and tables for a terminal, JSON for programs.

Lines are never wrapped, so that addresses and messages can be copied. Tables fit a terminal's width, and are as wide as
they need to be when the output goes elsewhere. Knows nothing of where the data comes from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepgraph.protocol.snapshot import StateSnapshot, TaskSnapshot

UNLIMITED = 10_000
"""Columns of an output that is no terminal, unless COLUMNS is set."""

NARROW = 64
"""Columns below which a table is printed as a paragraph for each row."""

SHORT_ID = 11
"""How many characters of a checkpoint id tables show: enough to tell a thread's checkpoints apart and to name one."""

_is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None in a process that was started without the stream
console = Console(highlight=False, width=None if _is_terminal or os.environ.get("COLUMNS") else UNLIMITED)
errors = Console(highlight=False, stderr=True)


def print_line(line: str, *, to: Console = console) -> None:
    """Print one or more lines of rich markup, unwrapped; text that is not markup must be escaped."""
    to.print(line, soft_wrap=True)


def heading(text: str) -> None:
    """Print a heading."""
    print_line(f"\n[bold]{escape(text)}[/]")


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(_json_data(value), indent=2, default=str, ensure_ascii=not _prints_unicode()), flush=True)


def step_line(snapshot: StateSnapshot, took: timedelta | None = None) -> str:
    """Return a line for a finished super-step: the nodes that wrote, how long it took, and the nodes that run next."""
    metadata = snapshot.metadata or {}
    writers = ", ".join(metadata["writes"] or [metadata["source"]])
    next_nodes = f"then {', '.join(snapshot.next)}" if snapshot.next else "done"
    seconds = f"{took.total_seconds():.2f} s" if took is not None else ""
    return f"[bold]step {metadata['step']:<3}[/] {seconds:>9}  {escape(writers)}  [dim]{escape(next_nodes)}[/]"


def values_block(values: Any) -> str:
    """Return the values as indented JSON."""
    return escape(json.dumps(values, indent=2, default=str, ensure_ascii=False))


def state_block(snapshot: StateSnapshot) -> str:
    """Return the lines for a whole snapshot."""
    errors = [f"error       {escape(error)}" for error in snapshot.errors]
    if snapshot.metadata is None:
        return "\n".join(["There is no checkpoint: nothing has been done on this thread yet.", *errors])
    metadata = snapshot.metadata
    lines = [
        f"[bold]step {metadata.get('step')}[/]",
        f"source      {metadata.get('source')}, {_local_time(snapshot.created_at)}",
        f"checkpoint  {snapshot.checkpoint_id}",
        f"next        {escape(', '.join(snapshot.next)) or 'nothing: the graph is done'}",
    ]
    lines += [f"task        {escape(_task_text(task))}" for task in snapshot.tasks]
    return "\n".join([*lines, *errors, "values", values_block(snapshot.values)])


def show_history(snapshots: Iterable[StateSnapshot], *, values: bool = False) -> None:
    """Print a thread's checkpoints as a table.

    Args:
        snapshots: the thread's history, newest first.
        values: whether to print a column with the values.
    """
    rows = []
    for snapshot in snapshots:
        metadata = snapshot.metadata or {}
        failed = [task.name for task in snapshot.tasks if task.error]
        row = [
            str(metadata.get("step")),
            str(metadata.get("source")),
            _writes_text(metadata.get("writes")),
            ", ".join(f"{name} (failed)" if name in failed else name for name in snapshot.next),
            _local_time(snapshot.created_at),
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
    """Print threads as a table.

    Args:
        threads: what `list_threads` returns.
    """
    rows = [
        [
            *(thread["thread_id"], thread["graph"], thread["status"]),
            *(_local_time(thread["started"]), _duration(thread["started"], thread["ended"])),
        ]
        for thread in threads
    ]
    _show_rows(["thread", "graph", "status", "started", "took"], rows)


def snapshot_json(snapshot: StateSnapshot) -> dict[str, Any]:
    """Return a snapshot as JSON data."""
    return {**snapshot._asdict(), "tasks": [task._asdict() for task in snapshot.tasks]}


def _show_rows(columns: list[str], rows: list[list[str]], *, narrow: int = NARROW) -> None:
    """Print a table; on a terminal with less than ``narrow`` columns, a paragraph for each row."""
    if console.width < narrow:
        for row in rows:
            cells = [f"{name:<10}  {escape(cell)}" for name, cell in zip(columns, row, strict=True) if cell]
            print_line("\n" + "\n".join(cells))
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


def _json_data(value: Any) -> Any:
    """Return a value with snapshots, also in lists, as JSON data."""
    if isinstance(value, StateSnapshot):
        return snapshot_json(value)
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_json_data(item) for item in value]
    return value


def _writes_text(writes: dict[str, Any] | None) -> str:
    """Return which nodes wrote which keys."""
    if not writes:
        return ""
    by_node = {node: ", ".join(keys) if isinstance(keys, Mapping) else "" for node, keys in writes.items()}
    return ", ".join(f"{node}: {keys}" if keys else node for node, keys in by_node.items())


def _task_text(task: TaskSnapshot) -> str:
    if task.error:
        return f"{task.name}: failed, {task.error}"
    if task.interrupts:
        value = json.dumps(task.interrupts[-1].value, default=str, ensure_ascii=False)
        return f"{task.name}: interrupt {value}"
    return f"{task.name}: {'finished' if task.result is not None else 'to run'}"


def _local_time(created_at: str | None) -> str:
    """Return a time of day in the local time zone, with the date unless that is today."""
    if not created_at:
        return ""
    time = datetime.fromisoformat(created_at).astimezone()
    return time.strftime("%H:%M:%S" if time.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


def _duration(started: str, ended: str | None) -> str:
    if ended is None:
        return ""
    took = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    if took < timedelta(minutes=1):
        return f"{took.total_seconds():.2f} s"
    return str(timedelta(seconds=round(took.total_seconds())))


def _prints_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")
