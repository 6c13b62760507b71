"""States that this process has at hand, by checkpoint id, so that an activity need not ask its workflow for one.

The workflow puts a state here when it dispatches, the activity takes it: both run in one process most of the time.
What is kept is JSON data that nobody edits, bounded by its size as JSON text; a miss costs a query, never correctness.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

MAX_BYTES = 64_000_000


class StateCache:
    """The most recently used states, up to a number of bytes. Safe for use by several OS threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._states: OrderedDict[str, tuple[int, Mapping[str, Any]]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, checkpoint_id: str, state: Mapping[str, Any], size: int) -> None:
        """Keeps a state of ``size`` bytes, dropping those not used for longest."""
        with self._lock:
            old = self._states.pop(checkpoint_id, None)
            self._bytes -= old[0] if old else 0
            self._states[checkpoint_id] = (size, state)
            self._bytes += size
            while self._bytes > self.max_bytes and self._states:
                _, (dropped, _) = self._states.popitem(last=False)
                self._bytes -= dropped

    def get(self, checkpoint_id: str) -> Mapping[str, Any] | None:
        """The state, if it is at hand."""
        with self._lock:
            found = self._states.get(checkpoint_id)
            if found is None:
                return None
            self._states.move_to_end(checkpoint_id)
            return found[1]

    @property
    def bytes(self) -> int:
        """The size of everything kept."""
        return self._bytes


states = StateCache()
"""The one of this process."""
