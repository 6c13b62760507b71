"""Answers to queries. A query never raises: an error is its answer, so that the error's parts reach the client."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic_core import to_json
from temporalio.common import RawValue

from stepgraph.drive.apply_command import check_command_on_closed
from stepgraph.drive.thread_io import authors_of
from stepgraph.engine.changes import difference
from stepgraph.engine.commit import entries_of
from stepgraph.engine.record import Record, record_of
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.thread_view import ThreadView
from stepgraph.errors import StepgraphError
from stepgraph.protocol.apply_writes_request import PendingWrites
from stepgraph.protocol.paging import PAGE_SIZE, PagedAnswer, needs_pages
from stepgraph.protocol.queries import (
    HISTORY_BYTES,
    HISTORY_PAGE,
    CheckRequest,
    HistoryRequest,
    Query,
    StateRequest,
    ValuesRequest,
)
from stepgraph.protocol.snapshot import matches_filter, recent_in_record, snapshot_data
from stepgraph.serde.error_text import first_line
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.plain_json import json_size
from stepgraph.temporal.answer_cache import process_answers
from stepgraph.temporal.payloads import argument_in, raw_json, to_raw

Arguments = Sequence[Any]
"""What a query was made with: a `RawValue`, nothing, or whatever else a sender can send."""


def state(thread: ThreadView | None, arguments: Arguments, errors: Sequence[str], *, in_one_piece: bool) -> RawValue:
    """Answer with a snapshot: of the requested checkpoint, or of the head with the errors of refused signals.

    The answer is `None` if the thread has no checkpoint. ``in_one_piece``: external storage takes large answers.
    """

    def snapshot(request: StateRequest) -> dict[str, Any] | None:
        if thread is None or thread.head is None:
            return None
        if request.checkpoint_id is None:
            return {**snapshot_data(thread, thread.head, as_head=True), "errors": list(errors)}
        return snapshot_data(thread, thread.checkpoint(request.checkpoint_id))

    return _answer(StateRequest, arguments, snapshot, in_one_piece=in_one_piece)


def history(
    thread: ThreadView | None, restored: Record | None, arguments: Arguments, *, in_one_piece: bool
) -> RawValue:
    """Answer with the run's checkpoints, newest first, and with those before them that the restored record has.

    The answer is `None` if the run has not restored its thread yet.
    """

    def page(request: HistoryRequest) -> dict[str, Any] | None:
        if thread is None:
            return None
        snapshots: list[dict[str, Any]] = []
        limit = HISTORY_PAGE if request.limit is None else min(HISTORY_PAGE, request.limit)
        more_before, reached, size = None, request.before is None, 0
        for checkpoint_id, make_snapshot in _newest_first(thread, restored):
            if not reached:
                reached = checkpoint_id == request.before
                continue
            if len(snapshots) == limit or size > HISTORY_BYTES:
                break
            snapshot = make_snapshot()
            more_before = checkpoint_id
            if matches_filter(snapshot, request.filter):
                snapshots.append(snapshot)
                size += json_size(snapshot)
        else:
            if request.before is not None and not reached:
                thread.checkpoint(request.before)  # raises: there is no such checkpoint
            if restored is None or not restored.recent:
                more_before = None
        return {
            "snapshots": snapshots,
            "more_before": more_before,
            "previous_run_id": restored.run_id if restored is not None else None,
        }

    return _answer(HistoryRequest, arguments, page, in_one_piece=in_one_piece)


def _newest_first(thread: ThreadView, restored: Record | None) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield each checkpoint's id, and a function that makes its snapshot."""
    for checkpoint in thread.newest_first():
        yield checkpoint.id, functools.partial(snapshot_data, thread, checkpoint)
    if restored is not None and thread.base is not None:
        values = JsonValues.of(thread.base.values)
        for recent, snapshot in zip(restored.recent, recent_in_record(restored, values), strict=True):
            yield recent.checkpoint.id, functools.partial(dict, snapshot)


def record(thread: ThreadView | None, restored: Record | None, arguments: Arguments, *, in_one_piece: bool) -> RawValue:
    """Answer with the record that the run would leave now, or with that of the requested checkpoint."""

    def data(request: StateRequest) -> dict[str, Any] | None:
        if thread is None:
            record = restored
        elif request.checkpoint_id is None:
            record = record_of(thread)
        else:
            record = record_of(thread, thread.checkpoint(request.checkpoint_id))
        return record.to_json() if record is not None else None

    return _answer(StateRequest, arguments, data, in_one_piece=in_one_piece)


def check(thread: ThreadView | None, spec: GraphSpec | None, arguments: Arguments) -> RawValue:
    """Answer with `None`, or with the error with which the thread's next run would refuse a command.

    ``spec`` is that of the worker's code, with which the next run will be started.
    """

    def refusal(request: CheckRequest) -> None:
        if thread is not None and spec is not None:
            check_command_on_closed(thread, spec, request.kind, request.command)

    return _answer(CheckRequest, arguments, refusal, in_one_piece=False)


def spec(thread: ThreadView | None, arguments: Arguments, *, in_one_piece: bool) -> RawValue:
    """Answer with the spec that the run has recorded."""

    def recorded(request: Query) -> dict[str, Any] | None:
        return thread.spec.to_json() if thread is not None else None

    return _answer(Query, arguments, recorded, in_one_piece=in_one_piece)


def writes(thread: ThreadView | None, arguments: Arguments, *, in_one_piece: bool) -> RawValue:
    """Answer with what the finished tasks of the head wrote, in the order of the tasks."""

    def pending(request: StateRequest) -> dict[str, Any]:
        entries = entries_of(thread.head, thread.results) if thread is not None and thread.head is not None else ()
        return PendingWrites(authors=authors_of(entries)).to_json()

    return _answer(StateRequest, arguments, pending, in_one_piece=in_one_piece)


def values(thread: ThreadView | None, arguments: Arguments, *, in_one_piece: bool) -> RawValue:
    """Answer with the values at a checkpoint, or with the difference from those that the client has."""

    def values_or_difference(request: ValuesRequest) -> dict[str, Any]:
        if thread is None or thread.head is None:
            return {"values": {}}
        checkpoint = thread.checkpoint(request.checkpoint_id) if request.checkpoint_id is not None else thread.head
        known = thread.find(request.since)
        if known is not None:
            return {"difference": difference(known.values, checkpoint.values).to_json()}
        return {"values": dict(checkpoint.values)}

    return _answer(ValuesRequest, arguments, values_or_difference, in_one_piece=in_one_piece)


def _answer(
    model: type[Query], arguments: Arguments, answer_to: Callable[[Any], Any], *, in_one_piece: bool
) -> RawValue:
    try:
        data = argument_in(arguments)
        request = model.model_validate({} if data is None else data)
        kept = process_answers.get(request.etag)
        if kept is not None:
            return _page(kept, request.page)
        answer = answer_to(request)
        text = to_json(answer)
        if not needs_pages(answer, text) or (in_one_piece and len(text) > PAGE_SIZE):
            return raw_json(text)
        return _page(PagedAnswer(text), request.page)
    except StepgraphError as error:
        return to_raw({"error": error.to_wire()})
    except ValueError as error:  # pydantic's, too
        invalid = StepgraphError(f"The query's argument is not understood: {first_line(error)}.")
        return to_raw({"error": invalid.to_wire()})


def _page(answer: PagedAnswer, number: int) -> RawValue:
    """Return a page of an answer, which is kept until its last one."""
    page = answer.page(number)
    if number + 1 < page["pages"]:
        process_answers.put(answer)
    else:
        process_answers.drop(answer.etag)
    return to_raw(page)
