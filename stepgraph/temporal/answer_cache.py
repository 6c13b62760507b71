"""A process's cache of query answers that come in pages, from their first page until their last."""

from __future__ import annotations

import threading
from collections import OrderedDict

from stepgraph.protocol.paging import PagedAnswer

MAX_BYTES = 100_000_000
"""Bytes of text that a process keeps: the answers of a few readers at once."""


class AnswerCache:
    """Answers by etag, up to a number of bytes; those that were put first are dropped first. Thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._answers: OrderedDict[str, PagedAnswer] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, answer: PagedAnswer) -> None:
        """Keep an answer, if it is not larger than the cache."""
        with self._lock:
            if answer.etag in self._answers:
                return
            self._answers[answer.etag] = answer
            self._bytes += len(answer.text)
            while self._bytes > self._max_bytes:
                _, dropped = self._answers.popitem(last=False)
                self._bytes -= len(dropped.text)

    def get(self, etag: str | None) -> PagedAnswer | None:
        """Return the answer with an etag; `None` if it is not in the cache."""
        with self._lock:
            return self._answers.get(etag) if etag is not None else None

    def drop(self, etag: str) -> None:
        """Forget an answer whose last page has been read."""
        with self._lock:
            dropped = self._answers.pop(etag, None)
            self._bytes -= len(dropped.text) if dropped is not None else 0


process_answers = AnswerCache()
"""The cache that the workflows of this process share."""
