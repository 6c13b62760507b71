"""The record that a run leaves when it ends, however it ends, and from which the next run restores the thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepgraph.engine.changes import Difference
from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, TaskFailure, TaskInterrupts, TaskResult
from stepgraph.engine.plan import nodes_to_run
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.taken_commands import TakenCommand, TakenCommands
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.engine.thread_view import ThreadView
from stepgraph.serde.formats import Data, Format
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import EXTERNAL_STORAGE_LIMIT

RECORD_LIMIT = 1_950_000
"""Bytes of JSON that a record may have. Every Temporal server accepts them as a result or as a failure's details."""

EXTERNAL_STORAGE_RECORD_LIMIT = 4 * EXTERNAL_STORAGE_LIMIT
"""The same limit with external storage: enough for a state, the writes that made it, and pending writes."""

PENDING_LIMIT = 100_000
"""Bytes of JSON that the pending values in a record may have. They repeat channels that are also in its values."""

NEXT_NODE_BYTES = 300
"""Bytes of JSON that a record needs at most to name one more node among ``next``."""

FAILURES_KEPT = 100
"""How many failures stay in a record that is too large."""

SHORT_TEXT = 500
"""Characters that are left of each failure's message in a record that is too large."""


class RecentCheckpoint(Data):
    """A checkpoint before a record's head, with the outcomes of its tasks."""

    checkpoint: CheckpointData
    committed: bool = False
    """Whether the results are left out, because they equal the writes of the next newer checkpoint."""
    results: dict[str, TaskResult] = {}
    failures: dict[str, TaskFailure] = {}
    interrupts: dict[str, TaskInterrupts] = {}
    difference: Difference
    """Turns the values of the next newer checkpoint into those of this one."""


class Record(Format):
    """A thread's head, with everything that is needed to go on from it.

    The values come first, because a person who reads the record in the Web UI looks for them.
    """

    values: dict[str, Any]
    """The head's values as JSON data."""
    next: tuple[str, ...]
    """The nodes that are still to run at the head."""
    checkpoint: CheckpointData
    results: dict[str, TaskResult] = {}
    """The pending writes: results of finished tasks at the head, by task id."""
    result_stamps: dict[str, str] = {}
    """The stamps of the channels that these results wrote, as far as a result does not tell its own. The run that
    commits them may have another spec."""
    pending_values: dict[str, Any] = {}
    """The channels that the pending writes change, with the values that they would have: `get_state` shows these."""
    pending_stamps: dict[str, str] = {}
    """The stamps of these values."""
    failures: dict[str, TaskFailure] = {}
    interrupts: dict[str, TaskInterrupts] = {}
    paused: bool = False
    """Whether the thread waits at a breakpoint."""
    graph: str
    spec_hash: str
    thread_id: str
    run_id: str
    """The run that left the record."""
    omitted: tuple[str, ...] = ()
    """What was left out of a record that was too large, in this order: ``pending_values``; the checkpoint's ``writes``;
    ``results``, as many as were too large: the tasks that had them run again; ``failures``, all but some."""
    taken_commands: tuple[TakenCommand, ...] = ()
    """The commands that the thread has taken lately: one that is sent again is not applied again."""
    output: tuple[str, ...] | None = None
    """The channels that a result shows; `None` stands for all."""
    recent: tuple[RecentCheckpoint, ...] = ()
    """The checkpoints before the head of a long run, newest first (`stepgraph.engine.recent_history`)."""

    @property
    def has_all_outcomes(self) -> bool:
        """Whether the record has the results and the failures of all tasks at the head that have run."""
        return "results" not in self.omitted and "failures" not in self.omitted


def record_of(thread: ThreadView, checkpoint: Checkpoint | None = None) -> Record | None:
    """Return the record of a thread's head, or of another checkpoint of its run for a fork.

    Args:
        thread: the run.
        checkpoint: a checkpoint of the run; by default its head.

    Returns:
        The record, without parts that would make it too large; `None` if the thread has no checkpoint.
    """
    checkpoint = checkpoint or thread.head
    if checkpoint is None:
        return None
    is_head = checkpoint is thread.head
    outcomes = thread.uncommitted_outcomes(checkpoint)
    by_task = outcomes.by_task(checkpoint)  # in the order of the tasks, so that equal threads leave equal records
    results = {task.id: result for task, result, _ in by_task if result is not None}
    stamps = thread.spec.stamps_of(dict.fromkeys(name for each in results.values() for w in each.writes for name in w))
    results = {task: _without_stamps(result, stamps) for task, result in results.items()}
    pending = thread.pending_values() if is_head else {}
    record = Record(
        values=dict(checkpoint.values),
        next=nodes_to_run(checkpoint, results),
        checkpoint=checkpoint.to_data(),
        results=results,
        result_stamps=stamps,
        pending_values=pending,
        pending_stamps=thread.pending_stamps(pending),
        failures={task.id: failure for task, _, failure in by_task if failure is not None},
        interrupts=outcomes.interrupts,
        paused=is_head and thread.paused,
        graph=thread.spec.name,
        spec_hash=thread.spec.hash,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        taken_commands=thread.taken_commands.all if is_head else (),
        output=thread.spec.output_channels,
    )
    return within_limit(record, EXTERNAL_STORAGE_RECORD_LIMIT if thread.uses_external_storage else RECORD_LIMIT)


def checkpoint_from(record: Record) -> Checkpoint:
    """Return the checkpoint in a record."""
    return Checkpoint.from_data(record.checkpoint, record.values)


def outcomes_from(record: Record | RecentCheckpoint) -> TaskOutcomes:
    """Return the outcomes of the tasks of the checkpoint in a record."""
    results = dict(record.results)
    if isinstance(record, Record) and record.result_stamps:
        results = {task: _with_stamps(result, record.result_stamps) for task, result in results.items()}
    return TaskOutcomes(results, dict(record.failures), dict(record.interrupts))


def _without_stamps(result: TaskResult, stamps: Mapping[str, str]) -> TaskResult:
    """Return a result without the stamps that the record has for all of them."""
    own = {name: stamp for name, stamp in result.stamps.items() if stamps.get(name) != stamp}
    return result if own == result.stamps or result.proved else result.model_copy(update={"stamps": own})


def _with_stamps(result: TaskResult, stamps: Mapping[str, str]) -> TaskResult:
    """Return a result with the stamps of all that it wrote."""
    own = {name: stamps[name] for write in result.writes for name in write if name in stamps}
    return result.model_copy(update={"stamps": own | result.stamps})


def thread_from(
    record: Record | None,
    spec: GraphSpec,
    *,
    thread_id: str,
    run_id: str,
    clock: Callable[[], str],
    uses_external_storage: bool = False,
) -> Thread:
    """Return the thread of a new run, with the checkpoint in a record as its base.

    Args:
        record: what the thread's previous run left; `None` on a new thread.
        spec, thread_id, run_id, clock, uses_external_storage: as for `ThreadView`.
    """
    thread = Thread(
        spec,
        thread_id=thread_id,
        run_id=run_id,
        clock=clock,
        uses_external_storage=uses_external_storage,
        base=checkpoint_from(record) if record else None,
        outcomes=outcomes_from(record) if record else None,
    )
    thread.taken_commands = TakenCommands(record.taken_commands if record else ())
    return thread


def within_limit(record: Record, limit: int) -> Record:
    """Return the record in at most ``limit`` bytes of JSON, if leaving out or shortening parts is enough for that.

    The cheapest loss comes first: tracebacks and long messages; pending values, which a worker can compute again; the
    writes that the history shows; results, whose tasks then run again; most of thousands of failures.
    """
    size = json_size(record)
    if size > limit and record.failures:
        shortened = {
            task: failure.model_copy(
                update={
                    "error_message": failure.error_message[:SHORT_TEXT],
                    "error_repr": failure.error_repr and failure.error_repr[:SHORT_TEXT],
                    "traceback": "",
                }
            )
            for task, failure in record.failures.items()
        }
        record = record.model_copy(update={"failures": shortened})
        size = json_size(record)
    pending_limit = PENDING_LIMIT if limit == RECORD_LIMIT else limit
    if record.pending_values and (size > limit or json_size(record.pending_values) > pending_limit):
        record = record.model_copy(update={"pending_values": {}, "pending_stamps": {}, "omitted": ("pending_values",)})
        size = json_size(record)
    if size > limit:
        checkpoint = record.checkpoint.model_copy(update={"writes": None})
        record = record.model_copy(update={"checkpoint": checkpoint, "omitted": (*record.omitted, "writes")})
        size = json_size(record)
    if size > limit and record.results:
        record = _with_fewer_results(record, size - limit)
        size = json_size(record)
    if size > limit and len(record.failures) > FAILURES_KEPT:
        kept = dict(list(record.failures.items())[:FAILURES_KEPT])
        record = record.model_copy(update={"failures": kept, "omitted": (*record.omitted, "failures")})
    return record


def _with_fewer_results(record: Record, excess: int) -> Record:
    """Return the record without as many results as have ``excess`` bytes of JSON. Their tasks run again."""
    results, freed = dict(record.results), 0
    for task, result in reversed(record.results.items()):
        del results[task]
        freed += json_size(result) - NEXT_NODE_BYTES
        if freed >= excess:
            break
    next = nodes_to_run(record.checkpoint, results)
    return record.model_copy(update={"results": results, "next": next, "omitted": (*record.omitted, "results")})
