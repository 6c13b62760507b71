"""What a run tells of itself unasked: its page in the Web UI, its search attributes, its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from stepgraph.engine.thread import Thread
from stepgraph.protocol.wire import Opening
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.search_attributes import FORKED_FROM, STATUS, WAITS_FOR
from stepgraph_workflows import details_page as details
from stepgraph_workflows.input_queue import Queue


class Telling:
    """A run, as far as it tells of itself."""

    def __init__(self) -> None:
        self._opening: Opening | None = None
        self._thread: Thread | None = None
        self._queue = Queue()
        self._running = True
        """Whether what is due is to be run: somebody asked for it, and it does not wait for people."""
        self._errors: list[str] = []
        """What signals were refused with."""
        self._rows: dict[str, str] = {}
        """Those of the page in the Web UI."""
        self._status: str | None = None
        """What the search attribute says."""
        self._log = get_logger("workflow")

    def _show(self) -> None:
        """Brings the thread's page in the Web UI up to date."""
        if self._thread is not None:
            page = details.page(
                self._thread, running=self._running, errors=self._errors, queued=len(self._queue), rows=self._rows
            )
            workflow.set_current_details(page)

    def _say(self, event: str, **bound: Any) -> None:
        if not workflow.unsafe.is_replaying():
            self._log.info(event, **bound)

    def _tell(self, search: Sequence[SearchAttributeUpdate[Any]] = ()) -> None:
        """Brings up to date what the Web UI and searches show of the thread."""
        thread = self._thread
        if thread is None or self._opening is None:
            return
        self._show()
        if not self._opening.settings.search_attributes:
            return
        status = details.status(thread, running=self._running)
        updates = list(search)
        if status != self._status:
            waits_for = details.waits_for(thread) if status == "waiting" else None
            updates.append(STATUS.value_set(status))
            if waits_for is not None or self._status == "waiting":
                updates.append(WAITS_FOR.value_set(waits_for) if waits_for is not None else WAITS_FOR.value_unset())
        self._status = status
        if updates:
            workflow.upsert_search_attributes(updates)

    def _origin(self, thread: Thread) -> list[SearchAttributeUpdate[Any]]:
        origin = thread.head.forked_from if thread.head else None
        return [FORKED_FROM.value_set(origin)] if origin is not None else []
