"""What a run publishes of itself: its page in the Web UI, its search attributes, its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from stepgraph.engine.thread_view import ThreadView
from stepgraph.protocol.status import ThreadStatus
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.search_attributes import FORKED_FROM, GRAPH, STATUS, WAITS_FOR
from stepgraph_workflows import details_page

MAX_KEYWORD_BYTES = 2_000
"""Bytes of JSON, with escapes for what is not ASCII, that a search attribute's value may have: servers take 2,048."""


class Publisher:
    """Keeps what was published last, so that only changes cost something."""

    def __init__(self) -> None:
        self._step_rows: dict[str, str] = {}
        """Rows of the page's table of super-steps, by checkpoint id."""
        self._status: ThreadStatus | None = None
        """The status that the search attribute has."""
        self._log = get_logger("workflow")

    def bind_log(self, info: workflow.Info) -> None:
        """Put the graph, the thread and the run on every log line."""
        self._log = self._log.bind(graph=info.workflow_type, thread=info.workflow_id, run=info.run_id)

    def log(self, event: str, **values: Any) -> None:
        """Log an event, once: not again in a replay."""
        if not workflow.unsafe.is_replaying():
            self._log.info(event, **values)

    def show_details(
        self,
        thread: ThreadView,
        *,
        status: ThreadStatus,
        errors: Sequence[str],
        hides_error_texts: bool,
        queued_inputs: int,
    ) -> None:
        """Set the page that the Web UI shows under User Metadata."""
        page = details_page.page(
            thread,
            status=status,
            errors=errors,
            hides_error_texts=hides_error_texts,
            queued_inputs=queued_inputs,
            step_rows=self._step_rows,
        )
        workflow.set_current_details(page)

    def update_search_attributes(
        self,
        thread: ThreadView | None,
        *,
        status: ThreadStatus,
        more: Sequence[SearchAttributeUpdate[Any]] = (),
    ) -> None:
        """Upsert the search attributes that have changed. The namespace must have them, or the workflow task fails.

        Args:
            thread: the thread; `None` if the run has not restored it.
            status: its status.
            more: further attributes.
        """
        updates = list(more)
        if status != self._status:
            waits_for = details_page.waits_for(thread) if status == "waiting" and thread is not None else None
            updates.append(STATUS.value_set(status))
            if waits_for is not None:
                updates.append(WAITS_FOR.value_set(keyword(waits_for)))
            elif self._status == "waiting":
                updates.append(WAITS_FOR.value_unset())
        self._status = status
        if updates:
            workflow.upsert_search_attributes(updates)


def graph_attribute(graph: str) -> SearchAttributeUpdate[Any]:
    """Return the search attribute that names the thread's graph."""
    return GRAPH.value_set(keyword(graph))


def origin_attributes(thread: ThreadView) -> list[SearchAttributeUpdate[Any]]:
    """Return the search attribute that names the thread which this one was forked from, if it was."""
    origin = thread.head.forked_from if thread.head else None
    return [FORKED_FROM.value_set(keyword(origin))] if origin is not None else []


def keyword(text: str) -> str:
    """Return a text as the value of a search attribute, which the server limits; a longer one fails a workflow task."""
    while len(json.dumps(text)) > MAX_KEYWORD_BYTES:
        text = text[: len(text) * 3 // 4]
    return text
