"""A cache of states in this process, so that most activities need not query the workflow for one.

The workflow puts a state here when it schedules an activity, and the activity reads it: both usually run in the same
process. States are kept as JSON text, so their size in memory is known. A miss costs a query and is never an error.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from stepgraph.serde.json_values import JsonValues

MAX_BYTES = 64_000_000

OVERHEAD = 1_000
"""Bytes that an entry counts in addition to its text, so that many small entries keep to the bound, too."""


class CachedState(NamedTuple):
    """A state of a run, and the checkpoint that it belongs to."""

    checkpoint_id: str
    values: JsonValues

    @property
    def size(self) -> int:
        """Bytes that the entry counts."""
        return self.values.size + OVERHEAD


class StateCache:
    """One state per run, up to a number of bytes; the least recently used ones are dropped. Thread-safe.

    One state per run is enough. Tasks that are due read the state of the run's head; if the cached state is older, an
    activity queries only the difference.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[str, CachedState] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, run_id: str, checkpoint_id: str, values: JsonValues) -> None:
        """Replace the run's state. A state larger than the bound is not stored, and the run then has none."""
        entry = CachedState(checkpoint_id, values)
        with self._lock:
            self._drop(run_id)
            if entry.size <= self.max_bytes:
                self._entries[run_id] = entry
                self._bytes += entry.size
            self._trim()

    def get(self, run_id: str) -> CachedState | None:
        """Return the run's state and mark it as used; `None` if it is not in the cache."""
        with self._lock:
            if run_id in self._entries:
                self._entries.move_to_end(run_id)
            return self._entries.get(run_id)

    def resize(self, max_bytes: int) -> None:
        """Set another bound, and drop what exceeds it; 0 disables the cache."""
        with self._lock:
            self.max_bytes = max_bytes
            self._trim()

    @property
    def bytes(self) -> int:
        """The size of all entries."""
        return self._bytes

    def _trim(self) -> None:
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, run_id: str) -> None:
        entry = self._entries.pop(run_id, None)
        self._bytes -= entry.size if entry is not None else 0


process_cache = StateCache()
"""The cache that the workflows and activities of this process share."""
