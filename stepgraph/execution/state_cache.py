"""States that this process has at hand, so that an activity need not ask its workflow for one.

The workflow puts a state here when it dispatches, the activity takes it: both run in one process most of the time.
What is kept is text that nobody edits, and the text is what the bound counts; a miss costs a query, never correctness.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from stepgraph.serde.json_values import JsonValues

MAX_BYTES = 64_000_000

OVERHEAD = 1_000
"""Bytes an entry counts beside its text, so that many small ones keep to the bound, too."""


class Kept(NamedTuple):
    """The state of a run that this process saw last."""

    checkpoint_id: str
    values: JsonValues

    @property
    def size(self) -> int:
        """What it counts."""
        return self.values.size + OVERHEAD


class StateCache:
    """One state for each run, up to a number of bytes; those not used for longest go first. Thread-safe.

    One is enough: what a run has due works from its head, and a state that is no more the head's is still what the
    head's differs little from.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, run_id: str, checkpoint_id: str, values: JsonValues) -> None:
        """Keeps a state in place of the run's last; not one that is larger than the bound."""
        kept = Kept(checkpoint_id, values)
        with self._lock:
            self._drop(run_id)
            if kept.size <= self.max_bytes:
                self._kept[run_id] = kept
                self._bytes += kept.size
            self._trim()

    def get(self, run_id: str) -> Kept | None:
        """The state of a run that was put here last, if it is at hand."""
        with self._lock:
            if run_id in self._kept:
                self._kept.move_to_end(run_id)
            return self._kept.get(run_id)

    def resize(self, max_bytes: int) -> None:
        """Sets another bound; 0 keeps nothing."""
        with self._lock:
            self.max_bytes = max_bytes
            self._trim()

    @property
    def bytes(self) -> int:
        """The size of everything kept."""
        return self._bytes

    def _trim(self) -> None:
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, run_id: str) -> None:
        kept = self._kept.pop(run_id, None)
        self._bytes -= kept.size if kept is not None else 0


states = StateCache()
"""The one of this process."""
