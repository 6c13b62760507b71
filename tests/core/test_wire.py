"""What workflow, activities and clients say to each other: pages, and options without their defaults."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from operator import add
from typing import Annotated, Any

import pytest
from pydantic_core import from_json, to_json

from stepgraph.engine.checkpoint import CheckpointData, TaskResult
from stepgraph.engine.record import PENDING_LIMIT, RECORD_LIMIT, Record, record_of
from stepgraph.engine.thread import Thread
from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.protocol.names import activity_type, task_queue_of
from stepgraph.protocol.paging import PAGE_SIZE, Pages, in_pages
from stepgraph.protocol.queries import HistoryRequest, StateRequest
from stepgraph.protocol.snapshot import head_in_record, snapshot_from
from stepgraph.protocol.start_options import ContinuedRun, StartOptions
from tests.core.graphs import graph, state_of

LARGE = {"text": "x" * (2 * PAGE_SIZE), "accents": "é€😀" * 1000, "numbers": list(range(1000))}


def read(answer: Callable[[int], Any]) -> tuple[Any, list[int]]:
    """What a reader puts together of the answers, each by way of JSON; and the pages it asked for."""
    pages, asked = Pages(), []
    while pages.wanted is not None:
        asked.append(pages.wanted)
        assert len(asked) < 20
        pages.take(from_json(to_json(answer(asked[-1]))))
    return pages.answer, asked


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        [],
        5,
        "x",
        {"etag": "mine", "piece": 1},
        {"etag": "mine", "pages": 3, "piece": "a state may have channels of any name"},
        {"error": None},
    ],
)
def test_a_small_answer_comes_as_it_is(answer: Any) -> None:
    """In one piece, whatever keys it has."""
    assert read(lambda page: in_pages(answer, page)) == (answer, [0])


def test_a_large_answer_comes_in_pages() -> None:
    """None of them larger than Temporal carries; characters that a cut goes through come out whole."""
    assert read(lambda page: in_pages(LARGE, page)) == (LARGE, [0, 1, 2])
    assert all(len(to_json(in_pages(LARGE, page))) < 2_000_000 for page in range(3))


@pytest.mark.parametrize("size", [PAGE_SIZE - 3, PAGE_SIZE - 2, PAGE_SIZE - 1, 2 * PAGE_SIZE - 2, 2 * PAGE_SIZE - 1])
def test_an_answer_of_just_a_page_is_cut_rightly(size: int) -> None:
    """Two quotes around a text make it two bytes longer."""
    answer, asked = read(lambda page: in_pages("x" * size, page))
    assert answer == "x" * size
    assert len(asked) == max(1, -(-(size + 2) // PAGE_SIZE))


def test_an_answer_that_changes_between_pages_is_begun_anew() -> None:
    """The pieces of two answers are never put together."""
    other = {**LARGE, "text": "y" * (2 * PAGE_SIZE)}
    turns = iter([LARGE, LARGE, other, other, other, other])
    assert read(lambda page: in_pages(next(turns), page)) == (other, [0, 1, 2, 0, 1, 2])


def test_an_answer_that_shrinks_between_pages_is_taken() -> None:
    """It needs no more pages."""
    turns = iter([LARGE, {"now": "small"}])
    assert read(lambda page: in_pages(next(turns), page)) == ({"now": "small"}, [0, 1])


def test_a_page_is_what_it_says() -> None:
    """Etag, number of pages, and a piece of the answer's JSON text."""
    page = in_pages(LARGE, 1)
    assert (sorted(page), page["pages"]) == (["etag", "pages", "piece"], 3)
    assert base64.b64decode(page["piece"]) == to_json(LARGE)[PAGE_SIZE : 2 * PAGE_SIZE]


def test_a_run_started_by_hand_needs_no_options() -> None:
    """Every field has a default, and what is at its default is not written."""
    assert StartOptions().to_json() == {}
    assert StartOptions.model_validate({}) == StartOptions()
    assert StartOptions().recursion_limit == DEFAULT_RECURSION_LIMIT
    assert StateRequest().to_json() == {}
    assert HistoryRequest(limit=3, filter={"step": 0}).to_json() == {"limit": 3, "filter": {"step": 0}}


def test_options_come_back_from_json() -> None:
    """With the record of a hand-over in them; fields of a later version are passed over."""
    continued = ContinuedRun(record=record(), steps_left=0)
    options = StartOptions(after="r1", caller="c", recursion_limit=7, config={"tags": []}, continued=continued)
    data = json.loads(json.dumps(options.to_json()))
    assert StartOptions.model_validate({**data, "added_later": 1}) == options
    assert data["continued"]["steps_left"] == 0
    assert "omitted" not in data["continued"]["record"]


def test_names_are_made_of_the_graphs() -> None:
    """As the Web UI shows them."""
    assert activity_type("research", "analyze") == "research.analyze"
    assert task_queue_of("research") == "stepgraph.research"


def record(**parts: Any) -> Record:
    """The record of a thread whose head waits for `b`."""
    checkpoint = CheckpointData(
        id="r.2", step=2, source="loop", created_at="now", triggers=("a", "b"), writes={"z": None}
    )
    defaults: dict[str, Any] = {
        "values": {"x": "1"},
        "next": ("b",),
        "checkpoint": checkpoint,
        "results": {"a": {"writes": [{"x": "2"}], "goto": ["b"]}},
        "failures": {"b": {"error_type": "builtins:ValueError", "error_message": "odd"}},
        "graph": "g",
        "spec_hash": "h",
        "thread_id": "t",
        "run_id": "r",
    }
    return Record.model_validate({**defaults, **parts})


def test_a_record_is_the_head_of_a_closed_thread() -> None:
    """Without a worker: values, what is left to run, and what became of each task."""
    snapshot = snapshot_from(head_in_record(record()))
    assert (snapshot.values, snapshot.next, snapshot.checkpoint_id) == ({"x": "1"}, ("b",), "r.2")
    assert [(task.name, task.result, task.error) for task in snapshot.tasks] == [
        ("a", {"x": "2"}, None),
        ("b", None, "ValueError: odd"),
    ]


def test_a_thread_without_checkpoints_leaves_no_record() -> None:
    """There is nothing to go on from."""
    code = graph(state_of({"x": str}), "START > n, n > END", n=lambda state: None).registry
    thread = Thread(code.spec, code.schema.channels, thread_id="t", run_id="r", clock=lambda: "now")
    assert record_of(thread) is None
    assert thread.due() == ()


def wrote(write: dict[str, Any]) -> TaskResult:
    return TaskResult(writes=(write,))


def test_a_record_that_grows_too_large_leaves_out_what_can_be_had_otherwise() -> None:
    """First the pending values, then the writes shown, then the kept results, whose tasks run again."""
    large = "x" * (RECORD_LIMIT // 2 - 1_000)
    code = graph(
        state_of({"x": str, "y": str}), "START > a, START > b, a > END, b > END", a=lambda s: None, b=lambda s: None
    ).registry

    def thread() -> Thread:
        thread = Thread(code.spec, code.schema.channels, thread_id="t", run_id="r", clock=lambda: "now")
        thread.accept_input({"x": large})
        thread.due()
        return thread

    whole = thread()
    a, b = whole.due()
    assert record_of(whole).omitted == ()  # type: ignore[union-attr]
    whole.finish(a, wrote({"y": "y" * 10_000}))
    short = record_of(whole)
    assert short is not None
    assert (short.omitted, short.checkpoint.writes, short.next) == (("pending_values", "writes"), None, ("b",))
    assert set(short.results) == {"a"}
    whole.finish(a, wrote({"y": large}))
    whole.finish(b, wrote({"y": "b" * 10_000}))
    shorter = record_of(whole)
    assert shorter is not None
    assert (shorter.omitted, shorter.results, shorter.next) == (("writes", "results"), {}, ("a", "b"))
    assert shorter.values == {"x": large}


def test_a_record_carries_what_is_pending_unless_it_is_large() -> None:
    """Only the channels that change; the checkpoint's values stay as they are."""
    log = Annotated[list[str], add]
    code = graph(
        state_of({"x": str, "log": log}), "START > a, START > b, a > END, b > END", a=lambda s: None, b=lambda s: None
    ).registry
    thread = Thread(code.spec, code.schema.channels, thread_id="t", run_id="r", clock=lambda: "now")
    thread.accept_input({"x": "x", "log": ["in"]})
    a, _ = thread.due()
    thread.finish(a, wrote({"log": ["a"]}))
    small = record_of(thread)
    assert small is not None
    assert (small.values, small.pending_values) == ({"x": "x", "log": ["in"]}, {"log": ["in", "a"]})
    assert head_in_record(small)["values"] == {"x": "x", "log": ["in", "a"]} == thread.values_with_pending_writes
    thread.finish(a, wrote({"log": ["a" * PENDING_LIMIT]}))
    large = record_of(thread)
    assert large is not None
    assert (large.pending_values, large.omitted) == ({}, ("pending_values",))
    assert large.results.keys() == {"a"}
