"""Compares what the threads have become with what was acknowledged, and with what the ledger says of the nodes."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client

from stepgraph import GraphClient, StateSnapshot
from stepgraph.temporal.executions import latest_run, run_before
from stepgraph_workflows import replay_run
from tests.chaos.ledger import Note
from tests.chaos.shapes import COMMITTED, GRAPHS
from tests.chaos.stories import Story

IN_FLIGHT_SECONDS = 5.0
"""How long before its begin and after its end a task may be in flight: it is on its way from the server, or its result
is on its way to it; a busy machine delays both. An activity of fused super-steps reports its progress once a second."""


@dataclass
class Verdict:
    """What was found. The lists say what is wrong, one line each."""

    super_steps: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Nodes that have failed for good, though they have failed no more often than they may."""
    failing: list[str] = field(default_factory=list)
    """Lines of the workers' logs about workflow tasks that they could not work on."""
    raw_errors: Counter[str] = field(default_factory=Counter)
    reruns: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a kill of a worker to the next finished task of each thread that had a task on it."""

    @property
    def faults(self) -> list[str]:
        return [
            f"{kind}: {line}"
            for kind in ("lost", "doubled", "stuck", "unreadable", "failed", "failing")
            for line in getattr(self, kind)
        ]

    def figures(self) -> dict[str, Any]:
        longest = max(self.recoveries, default=0.0)
        median = statistics.median(self.recoveries) if self.recoveries else 0.0
        return {
            "super-steps": self.super_steps,
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "stuck": len(self.stuck),
            "unreadable": len(self.unreadable),
            "nodes that failed without a cause": len(self.failed),
            "workflow tasks that failed": len(self.failing),
            "tasks in flight that ran again": self.reruns,
            "recovery after a killed worker, longest": f"{longest:.1f} s",
            "recovery after a killed worker, median": f"{median:.1f} s",
            "errors that are not stepgraph's": dict(self.raw_errors) or 0,
        }


async def judge(client: Client, stories: Sequence[Story], ledger: Sequence[Note], log: str) -> Verdict:
    """Read all threads, with replays of all their runs, and say what is wrong. ``log``: what all workers logged."""
    verdict = Verdict(failing=[line[:500] for line in log.splitlines() if "Failed activation" in line])
    for story in stories:
        verdict.raw_errors += story.raw_errors
        verdict.failed += [f"{story.graph} {story.thread}: {error}" for error in story.failures]
        if not story.finished:
            verdict.stuck.append(f"{story.graph} {story.thread}")
        try:
            snapshots = await _read(client, story)
        except Exception as error:
            verdict.unreadable.append(f"{story.graph} {story.thread}: {type(error).__name__}: {error}")
            continue
        verdict.super_steps += len(snapshots)
        _check_marks(story, snapshots, verdict)
        if story.finished and snapshots:
            _check_commits(story, snapshots[0], verdict)
    verdict.reruns = _check_reruns(ledger, verdict)
    verdict.recoveries = list(_recoveries(ledger))
    return verdict


async def _read(client: Client, story: Story) -> list[StateSnapshot]:
    """Return a thread's checkpoints, newest first; replay each of its runs."""
    reader = GraphClient(client, story.graph, schema=GRAPHS[story.graph].registry.schema)
    snapshots = [each async for each in reader.aget_state_history(story.config)]
    run = await latest_run(client, story.thread)
    while run is not None:
        await replay_run(client, run.thread_id, run.run_id)
        run = await run_before(client, run)
    return snapshots


def _check_marks(story: Story, snapshots: Sequence[StateSnapshot], verdict: Verdict) -> None:
    written = json.dumps([(each.metadata or {}).get("writes") for each in snapshots], default=str)
    log = list(snapshots[0].values.get("log", ())) if snapshots else []
    for mark in story.acknowledged:
        if mark not in written and story.finished:
            verdict.lost.append(f"{story.graph} {story.thread}: {mark} was acknowledged")
    for entry, times in Counter(log).items():
        if times > 1:
            verdict.doubled.append(f"{story.graph} {story.thread}: {entry} is in the state {times} times")


def _check_commits(story: Story, head: StateSnapshot, verdict: Verdict) -> None:
    """Compare how often each node was committed with what the inputs ask for."""
    log = list(head.values.get("log", ()))
    inputs = sum(entry in {*story.acknowledged, *story.unknown} for entry in log)
    if story.failures or not story.inputs or not inputs:
        return  # an input on a failed thread takes the place of what was pending; a fork begins in the middle
    committed = Counter(entry.split()[0] for entry in log if " " in entry)
    once = COMMITTED[story.graph]
    if story.graph in ("chaos-loop", "chaos-fused"):
        expected = Counter(turn=once["turn"] + inputs - 1)
    else:
        inputs = 1 if story.graph == "chaos-asking" else inputs - _updates(story, head)
        expected = Counter({node: times * inputs for node, times in once.items()})
    where = f"{story.graph} {story.thread}: {dict(committed)}, expected {dict(expected)}"
    if expected - committed:
        verdict.lost.append(where)
    if committed - expected:
        verdict.doubled.append(where)


def _updates(story: Story, head: StateSnapshot) -> int:
    """Return how many marks in the state came by an update, and not by an input."""
    return sum(entry in story.updates for entry in head.values.get("log", ()))


def _check_reruns(ledger: Sequence[Note], verdict: Verdict) -> int:
    """Return how many tasks ran again because a kill hit them in flight. Any other that ran again is doubled."""
    kills = [note for note in ledger if note.what.startswith("kill")]
    by_key: dict[str, list[Note]] = {}
    for note in ledger:
        if note.key != "-":
            by_key.setdefault(note.key, []).append(note)
    reruns = 0
    for key, notes in by_key.items():
        for place, begin in enumerate(notes):
            later = notes[place + 1 :]
            again = next((note for note in later if note.what == "begin"), None)
            if begin.what != "begin" or again is None:
                continue
            if any(note.what == "raise" and note.pid == begin.pid for note in later):
                continue
            reruns += 1
            end = next((note.time for note in later if note.what == "end" and note.pid == begin.pid), again.time)
            if not any(_hits(kill, begin, min(end + IN_FLIGHT_SECONDS, again.time)) for kill in kills):
                verdict.doubled.append(
                    f"task {key} of node {begin.node} began again, and no kill had hit it: {_timeline(notes, kills)}"
                )
    return reruns


def _hits(kill: Note, begin: Note, until: float) -> bool:
    """Return whether a kill hits a task that is in flight from its begin until a time.

    A server may be killed after it has handed the task to a worker, and before the worker begins with it.
    """
    if kill.what == "kill-server":
        return begin.time - IN_FLIGHT_SECONDS <= kill.time <= until
    return begin.time <= kill.time <= until and kill.pid == begin.pid


def _timeline(notes: Sequence[Note], kills: Sequence[Note]) -> str:
    """Return what happened to a task, and the kills around it, in seconds from its first begin."""
    first, last = notes[0].time, notes[-1].time
    around = [kill for kill in kills if first - 60 <= kill.time <= last + 5]
    return ", ".join(
        f"{each.time - first:+.1f} {each.what} {each.pid}"
        for each in sorted([*notes, *around], key=lambda each: each.time)
    )


def _recoveries(ledger: Iterable[Note]) -> Iterable[float]:
    """Yield, for each thread that a killed worker had in hand, the seconds until its next task has finished."""
    running: dict[str, Note] = {}
    hit: dict[str, float] = {}
    for note in ledger:
        if note.what == "begin":
            running[note.key] = note
        elif note.what in ("end", "raise"):
            running.pop(note.key, None)
            if note.thread in hit:
                yield note.time - hit.pop(note.thread)
        elif note.what == "kill-worker":
            for begun in [each for each in running.values() if each.pid == note.pid]:
                del running[begun.key]
                hit[begun.thread] = note.time
