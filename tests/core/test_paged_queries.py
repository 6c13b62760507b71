"""The answers to queries that come in pages: each is of one moment, and made once, also while its thread moves on."""

from __future__ import annotations

from typing import Any

from temporalio.common import RawValue

from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.thread import Thread
from stepgraph.protocol.paging import PAGE_SIZE, Pages
from stepgraph.temporal.answer_cache import process_answers
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph_workflows import query_answers
from tests.core.graphs import graph, state_of


def moving_thread() -> Thread:
    """Return a thread whose node runs again and again, and writes its state anew."""
    registry = graph(state_of({"text": str}), "START > again, again > again", again=lambda s: None).registry
    thread = Thread(registry.spec, thread_id="t", run_id="r", clock=lambda: "now")
    thread.accept_input({"text": "x" * PAGE_SIZE})
    move(thread)
    return thread


def move(thread: Thread) -> None:
    """Take one super-step."""
    for task in thread.due():
        thread.start(task)
        thread.finish(task, TaskResult(writes=({"text": f"{thread.next_step}" * PAGE_SIZE},)))
    thread.commit()


def ask(thread: Thread, request: dict[str, Any]) -> RawValue:
    return query_answers.values(thread, [to_raw(request)], in_one_piece=False)


def test_a_thread_that_moves_between_two_pages_is_read_in_one_go() -> None:
    """The pages are those of the answer that the first page belongs to."""
    thread, pages, queries = moving_thread(), Pages(), 0
    before = dict(thread.state)
    while pages.next_request is not None:
        pages.add_page(from_raw(ask(thread, pages.next_request)))
        move(thread)
        queries += 1
    assert pages.answer == {"values": before}
    assert queries == 2


def test_an_answer_is_kept_until_its_last_page() -> None:
    """A page of an answer that is not kept any more is one of the answer of now, with another etag."""
    thread = moving_thread()
    first = from_raw(ask(thread, {"page": 0}))
    assert process_answers.get(first["etag"]) is not None
    last = from_raw(ask(thread, {"page": 1, "etag": first["etag"]}))
    assert (last["etag"], last["pages"]) == (first["etag"], 2)
    assert process_answers.get(first["etag"]) is None
    move(thread)
    assert from_raw(ask(thread, {"page": 1, "etag": first["etag"]}))["etag"] != first["etag"]
