"""Queries a workflow for an answer that may be too large for one payload, page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.common import RawValue

from stepgraph.errors import StepgraphError
from stepgraph.protocol.paging import Pages
from stepgraph.serde.error_text import first_line
from stepgraph.temporal.payloads import from_raw


async def query_all_pages(query_page: Callable[[dict[str, Any]], Awaitable[RawValue]]) -> Any:
    """Return the complete answer to a query, as JSON data.

    If the answer changes between two pages, it is read again from page 0.

    Args:
        query_page: sends the query for one page, with these fields in addition. Its errors are raised unchanged.

    Raises:
        ServerError: the answer changes all the time.
        StepgraphError: the answer is not JSON, perhaps because this process lacks a payload codec.
    """
    pages = Pages()
    while pages.next_request is not None:
        response = await query_page(pages.next_request)
        try:
            pages.add_page(from_raw(response))
        except ValueError as error:
            raise StepgraphError(f"The answer of a thread's worker cannot be read: {first_line(error)}.") from error
    return pages.answer
