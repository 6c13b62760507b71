"""Answers to queries. An error is part of one, so that its parts reach the asker. No user code runs but reducers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from temporalio.common import RawValue

from stepgraph.engine.difference import difference
from stepgraph.engine.record import Record, record_of
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError
from stepgraph.execution.apply_command import check_closed
from stepgraph.execution.registry import GraphCode
from stepgraph.protocol.snapshot import matches, past_in_record, view
from stepgraph.protocol.wire import (
    HISTORY_BYTES,
    HISTORY_PAGE,
    PAGE_SIZE,
    CheckRequest,
    HistoryRequest,
    Opening,
    StateRequest,
    ValuesRequest,
    in_pages,
)
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.type_codec import first_line, json_size
from stepgraph.temporal.payloads import from_raw, to_raw


def state(thread: Thread | None, request: RawValue, errors: list[str], *, stored: bool = False) -> RawValue:
    """A snapshot; `None` on a thread without checkpoints."""

    def found(asked: StateRequest) -> Any:
        if thread is None or thread.head is None:
            return None
        if asked.checkpoint_id is None:
            return {**view(thread, thread.head, as_head=True), "errors": errors}
        return view(thread, thread.checkpoint(asked.checkpoint_id))

    return _answer(StateRequest, request, found, stored)


def history(thread: Thread | None, taken_up: Record | None, request: RawValue, *, stored: bool = False) -> RawValue:
    """The run's checkpoints, newest first, down to the one it took over, and as many before it as came with that.

    `None` for a run that has not taken its thread up yet.
    """

    def found(asked: HistoryRequest) -> Any:
        if thread is None:
            return None
        snapshots: list[dict[str, Any]] = []
        limit = HISTORY_PAGE if asked.limit is None else min(HISTORY_PAGE, asked.limit)
        more, begun, size = None, asked.before is None, 0
        for checkpoint_id, shown in _history(thread, taken_up):
            if not begun:
                begun = checkpoint_id == asked.before
                continue
            if len(snapshots) == limit or size > HISTORY_BYTES:
                break
            made = shown()
            more = checkpoint_id
            if matches(made, asked.filter):
                snapshots.append(made)
                size += json_size(made)
        else:
            if asked.before is not None and not begun:
                thread.checkpoint(asked.before)  # says that there is none
            if taken_up is None or not taken_up.past:
                more = None
        return {
            "snapshots": snapshots,
            "more_before": more,
            "previous_run_id": taken_up.run_id if taken_up is not None else None,
        }

    return _answer(HistoryRequest, request, found, stored)


def _history(thread: Thread, taken_up: Record | None) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Checkpoints by id, newest first, each with how it is to be shown."""
    for checkpoint in thread.newest_first():
        yield checkpoint.id, functools.partial(view, thread, checkpoint)
    if taken_up is not None and thread.base is not None:
        values = JsonValues.of(thread.channels.encode(thread.base.values))
        for past, shown in zip(taken_up.past, past_in_record(taken_up, values), strict=True):
            yield past.checkpoint.id, functools.partial(dict, shown)


def record(thread: Thread | None, opening: Opening | None, request: RawValue, *, stored: bool = False) -> RawValue:
    """The record as of now, or of a checkpoint."""

    def found(asked: StateRequest) -> Any:
        if thread is not None and asked.checkpoint_id is not None:
            made = record_of(thread, thread.checkpoint(asked.checkpoint_id))
        else:
            made = record_of(thread) if thread is not None else opening.record if opening is not None else None
        return made.model_dump(mode="json") if made is not None else None

    return _answer(StateRequest, request, found, stored)


def check(thread: Thread | None, code: GraphCode, request: RawValue) -> RawValue:
    """`None`, or the error with which an order will be refused as far as can be seen from here."""

    def found(asked: CheckRequest) -> None:
        if thread is not None:
            check_closed(thread, code, asked.kind, asked.order)

    return _answer(CheckRequest, request, found)


def values(thread: Thread | None, request: RawValue, *, stored: bool = False) -> RawValue:
    """The values at a checkpoint, or what tells them from those of another one that the asker has."""

    def found(asked: ValuesRequest) -> Any:
        if thread is None or thread.head is None:
            return {"values": {}}
        wanted = thread.checkpoint(asked.checkpoint_id) if asked.checkpoint_id is not None else thread.head
        before = next((each for each in thread.newest_first() if each.id == asked.since), None)
        if before is not None:
            return {"difference": difference(thread.channels, before.values, wanted.values).to_json()}
        if wanted is thread.head:
            return {"values": thread.state.to_data()}
        return {"values": thread.channels.encode(wanted.values)}

    return _answer(ValuesRequest, request, found, stored)


def _answer(model: type[Any], request: RawValue, found: Callable[[Any], Any], stored: bool = False) -> RawValue:
    try:
        given = from_raw(request)
        asked = model.model_validate({} if given is None else given)
        answer = found(asked)
        if stored and json_size(answer) > PAGE_SIZE:
            return to_raw(answer)
        return to_raw(in_pages(answer, asked.page))
    except StepgraphError as error:
        return to_raw({"error": error.to_wire()})
    except ValueError as error:  # pydantic's, too
        wrong = StepgraphError(f"The query's argument is not understood: {first_line(error)}.")
        return to_raw({"error": wrong.to_wire()})
