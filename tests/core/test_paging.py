"""Tests of paged query answers: a large answer is cut into pages, and `Pages` reassembles it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from stepgraph.protocol.paging import PAGE_SIZE, PagedAnswer, Pages, needs_pages

LARGE = {"text": "x" * (2 * PAGE_SIZE), "accents": "é€😀" * 1000, "numbers": list(range(1000))}


def respond(answer: Any, page: int) -> Any:
    """Respond to a query as a run does: with the answer, or with a page of it."""
    text = to_json(answer)
    return PagedAnswer(text).page(page) if needs_pages(answer, text) else answer


def read_pages(answer: Callable[[int], Any]) -> tuple[Any, list[int]]:
    """Read all pages through JSON. Return the reassembled answer and the numbers of the pages requested."""
    pages, requested = Pages(), []
    while pages.next_request is not None:
        requested.append(pages.next_request["page"])
        assert len(requested) < 20
        pages.add_page(from_json(to_json(answer(requested[-1]))))
    return pages.answer, requested


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
def test_a_small_answer_is_returned_unchanged(answer: Any) -> None:
    """An answer within the page size is a single page, even if its keys are those of a page."""
    assert read_pages(lambda page: respond(answer, page)) == (answer, [0])


def test_a_large_answer_comes_in_pages() -> None:
    """Each page of a large answer fits into a query result. A character cut by a page boundary is restored."""
    assert read_pages(lambda page: respond(LARGE, page)) == (LARGE, [0, 1, 2])
    assert all(len(to_json(PagedAnswer(to_json(LARGE)).page(page))) < 2_000_000 for page in range(3))


@pytest.mark.parametrize("size", [PAGE_SIZE - 3, PAGE_SIZE - 2, PAGE_SIZE - 1, 2 * PAGE_SIZE - 2, 2 * PAGE_SIZE - 1])
def test_an_answer_around_the_page_size_has_the_right_number_of_pages(size: int) -> None:
    """The page count includes the two quotes around a JSON string."""
    answer, requested = read_pages(lambda page: respond("x" * size, page))
    assert answer == "x" * size
    assert len(requested) == max(1, -(-(size + 2) // PAGE_SIZE))


def test_an_answer_that_changes_between_pages_is_read_again() -> None:
    """Pieces of two different answers are never combined."""
    other = {**LARGE, "text": "y" * (2 * PAGE_SIZE)}
    answers = iter([LARGE, LARGE, other, other, other, other])
    assert read_pages(lambda page: respond(next(answers), page)) == (other, [0, 1, 2, 0, 1, 2])


def test_an_answer_that_shrinks_to_one_page_is_accepted() -> None:
    """An answer that fits one page is complete, even if the page before it belonged to a larger answer."""
    answers = iter([LARGE, {"now": "small"}])
    assert read_pages(lambda page: respond(next(answers), page)) == ({"now": "small"}, [0, 1])


def test_a_page_has_an_etag_the_page_count_and_a_piece() -> None:
    """The piece in a page is a part of the answer's JSON text."""
    page = PagedAnswer(to_json(LARGE)).page(1)
    assert (sorted(page), page["pages"]) == (["etag", "pages", "piece"], 3)
    assert base64.b64decode(page["piece"]) == to_json(LARGE)[PAGE_SIZE : 2 * PAGE_SIZE]
