"""A thread's checkpoints as the tree they are: drawn for a terminal, or as Mermaid for a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from stepgraph.cli.rendering import SHORT_ID
from stepgraph.protocol.snapshot import StateSnapshot

Forks = Mapping[str, Sequence[str]]
"""The threads that were forked from a checkpoint, by its id."""

VALUE_LIMIT = 60
"""Characters of a value that a difference shows."""


def lines(snapshots: Sequence[StateSnapshot], forks: Forks, *, head: str | None, diff: bool) -> Iterator[str]:
    """The tree, a line a checkpoint, oldest at the top; side by side only where the history branches.

    Args:
        snapshots: a thread's history, newest first.
        forks: what grew from it on other threads.
        head: the id of the thread's head, which is marked.
        diff: whether to show, below each, what changed against its parent.
    """
    by_id = {str(snapshot.checkpoint_id): snapshot for snapshot in snapshots}
    children: dict[str | None, list[StateSnapshot]] = {}
    for snapshot in reversed(snapshots):
        parent = _parent(snapshot)
        children.setdefault(parent if parent in by_id else None, []).append(snapshot)
    waiting = [(root, "", "") for root in reversed(children.get(None, []))]
    while waiting:
        snapshot, prefix, below = waiting.pop()
        own = str(snapshot.checkpoint_id)
        yield f"{prefix}● {_label(snapshot)}{'  [bold green]◀ head[/]' if own == head else ''}"
        if diff:
            changes = differences(by_id.get(_parent(snapshot) or ""), snapshot)
            yield from (f"{below}│   [dim]{escape(change)}[/]" for change in changes)
        yield from (f"{below}│ [cyan]⤷ forked to thread {escape(name)}[/]" for name in forks.get(own, ()))
        grown = children.get(own, [])
        if len(grown) == 1:
            waiting.append((grown[0], below, below))
            continue
        branches = [(child, f"{below}├─", f"{below}│ ") for child in grown[:-1]]
        branches += [(child, f"{below}└─", f"{below}  ") for child in grown[-1:]]
        waiting += reversed(branches)


def mermaid(snapshots: Sequence[StateSnapshot], *, head: str | None) -> str:
    """The tree as a Mermaid flowchart."""
    drawn = ["flowchart TD"]
    ids = {str(snapshot.checkpoint_id): f"c{number}" for number, snapshot in enumerate(reversed(snapshots))}
    for snapshot in reversed(snapshots):
        own, parent = str(snapshot.checkpoint_id), _parent(snapshot)
        drawn.append(f'    {ids[own]}["{_plain(snapshot)}"]')
        if parent in ids:
            drawn.append(f"    {ids[parent]} --> {ids[own]}")
        if own == head:
            drawn.append(f"    style {ids[own]} stroke-width:3px")
    return "\n".join(drawn) + "\n"


def differences(before: StateSnapshot | None, after: StateSnapshot) -> Iterator[str]:
    """What changed from a checkpoint to the next, a line a key."""
    old: Mapping[str, Any] = before.values if before is not None else {}
    for key, value in after.values.items():
        if key not in old:
            yield f"+ {key}: {_short(value)}"
        elif old[key] != value:
            was = old[key]
            if isinstance(value, list) and isinstance(was, list) and value[: len(was)] == was:
                yield f"~ {key}: and {_short(value[len(was) :])}"
            else:
                yield f"~ {key}: {_short(was)} → {_short(value)}"
    yield from (f"- {key}" for key in old if key not in after.values)


def _parent(snapshot: StateSnapshot) -> str | None:
    """The parent's id, if it is on the same thread."""
    metadata = snapshot.metadata or {}
    if snapshot.parent_config is None or "forked_from" in metadata:
        return None
    parent: str = snapshot.parent_config["configurable"]["checkpoint_id"]
    return parent


def _label(snapshot: StateSnapshot) -> str:
    metadata = snapshot.metadata or {}
    origin = metadata.get("forked_from")
    grown = f"  [cyan]from thread {escape(origin['thread_id'])}[/]" if origin else ""
    what = escape(_wrote(metadata))
    short = str(snapshot.checkpoint_id)[-SHORT_ID:]
    return f"[bold]step {metadata.get('step')}[/] {what}  [dim]{short}[/]{grown}"


def _plain(snapshot: StateSnapshot) -> str:
    metadata = snapshot.metadata or {}
    return f"step {metadata.get('step')}: {_wrote(metadata)}".replace('"', "&quot;")


def _wrote(metadata: Mapping[str, Any]) -> str:
    names = ", ".join(_names(metadata.get("writes")))
    source = metadata.get("source")
    return names if source == "loop" and names else f"{source}{f' as {names}' if names else ''}"


def _names(writes: Mapping[str, Any] | None) -> Iterable[str]:
    return writes or ()


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= VALUE_LIMIT else f"{text[: VALUE_LIMIT - 1]}…"
