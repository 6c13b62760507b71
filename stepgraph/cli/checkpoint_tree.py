"""Draws a thread's checkpoints as a tree: for a terminal, or as a Mermaid flowchart.

Knows nothing of how the checkpoints were read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from stepgraph.cli.rendering import SHORT_ID
from stepgraph.protocol.snapshot import StateSnapshot

Forks = Mapping[str, Sequence[str]]
"""Checkpoint id -> the ids of the threads that were forked from that checkpoint."""

VALUE_LIMIT = 60
"""How many characters of a value a difference shows."""


def lines(snapshots: Sequence[StateSnapshot], forks: Forks, *, head: str | None, diff: bool) -> Iterator[str]:
    """Yield the tree as lines of rich markup, one for each checkpoint, the oldest first.

    A line is indented only below a checkpoint with several children.

    Args:
        snapshots: a thread's history, newest first.
        forks: the threads that were forked from its checkpoints.
        head: the id of the thread's head, which is marked.
        diff: whether to add, below each checkpoint, what it changed against its parent.
    """
    by_id = {str(snapshot.checkpoint_id): snapshot for snapshot in snapshots}
    children: dict[str | None, list[StateSnapshot]] = {}
    for snapshot in reversed(snapshots):
        parent = _parent_id(snapshot)
        children.setdefault(parent if parent in by_id else None, []).append(snapshot)
    stack = [(root, "", "") for root in reversed(children.get(None, []))]
    while stack:
        snapshot, prefix, indent = stack.pop()
        checkpoint_id = str(snapshot.checkpoint_id)
        yield f"{prefix}● {_label(snapshot)}{'  [bold green]◀ head[/]' if checkpoint_id == head else ''}"
        if diff:
            changes = differences(by_id.get(_parent_id(snapshot) or ""), snapshot)
            yield from (f"{indent}│   [dim]{escape(change)}[/]" for change in changes)
        for thread_id in forks.get(checkpoint_id, ()):
            yield f"{indent}│ [cyan]⤷ forked to thread {escape(thread_id)}[/]"
        next_snapshots = children.get(checkpoint_id, [])
        if len(next_snapshots) == 1:
            stack.append((next_snapshots[0], indent, indent))
            continue
        branches = [(child, f"{indent}├─", f"{indent}│ ") for child in next_snapshots[:-1]]
        branches += [(child, f"{indent}└─", f"{indent}  ") for child in next_snapshots[-1:]]
        stack += reversed(branches)


def mermaid(snapshots: Sequence[StateSnapshot], *, head: str | None) -> str:
    """Return the tree as a Mermaid flowchart.

    Args:
        snapshots: a thread's history, newest first.
        head: the id of the checkpoint to mark.
    """
    statements = ["flowchart TD"]
    box_names = {str(snapshot.checkpoint_id): f"c{number}" for number, snapshot in enumerate(reversed(snapshots))}
    for snapshot in reversed(snapshots):
        checkpoint_id, parent = str(snapshot.checkpoint_id), _parent_id(snapshot)
        statements.append(f'    {box_names[checkpoint_id]}["{_mermaid_label(snapshot)}"]')
        if parent in box_names:
            statements.append(f"    {box_names[parent]} --> {box_names[checkpoint_id]}")
        if checkpoint_id == head:
            statements.append(f"    style {box_names[checkpoint_id]} stroke-width:3px")
    return "\n".join(statements) + "\n"


def differences(before: StateSnapshot | None, after: StateSnapshot) -> Iterator[str]:
    """Yield what changed from one checkpoint to another, a line for each key of the state."""
    old_values: Mapping[str, Any] = before.values if before is not None else {}
    for key, value in after.values.items():
        if key not in old_values:
            yield f"+ {key}: {_shortened(value)}"
        elif old_values[key] != value:
            old = old_values[key]
            if isinstance(value, list) and isinstance(old, list) and value[: len(old)] == old:
                yield f"~ {key}: and {_shortened(value[len(old) :])}"
            else:
                yield f"~ {key}: {_shortened(old)} → {_shortened(value)}"
    yield from (f"- {key}" for key in old_values if key not in after.values)


def _parent_id(snapshot: StateSnapshot) -> str | None:
    """Return the id of a checkpoint's parent; None if there is none on the same thread."""
    metadata = snapshot.metadata or {}
    if snapshot.parent_config is None or "forked_from" in metadata:
        return None
    parent: str = snapshot.parent_config["configurable"]["checkpoint_id"]
    return parent


def _label(snapshot: StateSnapshot) -> str:
    metadata = snapshot.metadata or {}
    source = metadata.get("forked_from")
    forked_from = f"  [cyan]from thread {escape(source['thread_id'])}[/]" if source else ""
    short_id = str(snapshot.checkpoint_id)[-SHORT_ID:]
    return f"[bold]step {metadata.get('step')}[/] {escape(_origin(metadata))}  [dim]{short_id}[/]{forked_from}"


def _mermaid_label(snapshot: StateSnapshot) -> str:
    metadata = snapshot.metadata or {}
    return f"step {metadata.get('step')}: {_origin(metadata)}".replace('"', "&quot;")


def _origin(metadata: Mapping[str, Any]) -> str:
    """Return who made a checkpoint: the nodes that wrote, or else its source and in whose name it was made."""
    writers = ", ".join(metadata.get("writes") or ())
    source = metadata.get("source")
    return writers if source == "loop" and writers else f"{source}{f' as {writers}' if writers else ''}"


def _shortened(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= VALUE_LIMIT else f"{text[: VALUE_LIMIT - 1]}…"
