"""What commands print: tables and lines for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepgraph.snapshot import StateSnapshot, TaskSnapshot

console = Console(highlight=False)

SHORT_ID = 11
"""Characters of a checkpoint id shown in tables: enough to tell a thread's checkpoints apart, and taken as an id."""


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(_plain(value), indent=2, default=str, ensure_ascii=False))


def step_line(snapshot: StateSnapshot) -> str:
    """One finished super-step."""
    assert snapshot.metadata is not None
    what = ", ".join(snapshot.metadata["writes"] or [snapshot.metadata["source"]])
    then = f"then {', '.join(snapshot.next)}" if snapshot.next else "done"
    return f"[bold]step {snapshot.metadata['step']}[/]  {escape(what)}  [dim]{escape(then)}[/]"


def values_block(values: dict[str, Any]) -> str:
    """The values, as JSON that people can read."""
    return escape(json.dumps(values, indent=2, default=str, ensure_ascii=False))


def state_block(snapshot: StateSnapshot) -> str:
    """A snapshot in full."""
    metadata = snapshot.metadata or {}
    lines = [
        f"[bold]step {metadata.get('step')}[/]  source {metadata.get('source')}  {_time(snapshot.created_at)}",
        f"checkpoint  {snapshot.checkpoint_id}",
        f"next        {escape(', '.join(snapshot.next)) or 'nothing: the graph is done'}",
    ]
    lines += [f"task        {escape(_task(task))}" for task in snapshot.tasks]
    return "\n".join([*lines, "values", values_block(snapshot.values)])


def history_table(snapshots: Iterable[StateSnapshot], *, values: bool = False) -> Table:
    """A thread's history, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", justify="right")
    for name in ("source", "wrote", "next", "time"):
        table.add_column(name)
    table.add_column("checkpoint", no_wrap=True)
    if values:
        table.add_column("values")
    for snapshot in snapshots:
        metadata = snapshot.metadata or {}
        failed = [task for task in snapshot.tasks if task.error]
        then = ", ".join(
            f"{name} (failed)" if name in [task.name for task in failed] else name for name in snapshot.next
        )
        row = [
            str(metadata.get("step")),
            str(metadata.get("source")),
            _wrote(metadata.get("writes")),
            then,
            _time(snapshot.created_at),
            (snapshot.checkpoint_id or "")[-SHORT_ID:],
        ]
        if values:
            row.append(json.dumps(snapshot.values, default=str, ensure_ascii=False))
        table.add_row(*map(escape, row))
    return table


def threads_table(threads: Iterable[dict[str, Any]]) -> Table:
    """Threads, the latest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("thread", "graph", "status", "started", "ended"):
        table.add_column(name, overflow="fold")
    for thread in threads:
        table.add_row(
            *map(escape, (thread["thread_id"], thread["graph"], thread["status"])),
            _time(thread["started"]),
            _time(thread["ended"]),
        )
    return table


def snapshot_json(snapshot: StateSnapshot) -> dict[str, Any]:
    """A snapshot as JSON data."""
    return {**snapshot._asdict(), "tasks": [task._asdict() for task in snapshot.tasks]}


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
    return f"{task.name}: {'finished' if task.result is not None else 'to run'}"


def _time(created_at: str | None) -> str:
    """A time of day in the reader's zone, with the date unless it is today."""
    if not created_at:
        return ""
    at = datetime.fromisoformat(created_at).astimezone()
    return at.strftime("%H:%M:%S" if at.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")
