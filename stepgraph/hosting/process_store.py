"""The store of a process: what its nodes get whose graph was compiled without one.

Owns which store that is, by STEPGRAPH_STORE or beside the embedded server's database, and that it is opened once, when
a node first asks for it. `stepgraph.langgraph.stores` opens it, because the stores are LangGraph's.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any, Final

from stepgraph.errors import StepgraphError
from stepgraph.temporal.settings import text_setting

SETTING: Final = "STEPGRAPH_STORE"
FILE_NAME: Final = "store.db"
"""The database of the embedded server's store, beside the server's own."""


class ProcessStore:
    """The store of a process. Its methods may be called on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._address: str | None = None
        self._store: Any = None

    def stand_beside(self, folder: Path | None) -> None:
        """Keep the store in the embedded server's folder, unless a setting names another; `None`: no such server."""
        self._folder = folder

    @property
    def address(self) -> str | None:
        """Where the store is; `None` if the process has none."""
        address = text_setting(SETTING)
        if address is not None:
            return None if address == "none" else address
        return f"sqlite:///{self._folder / FILE_NAME}" if self._folder is not None else None

    def open(self) -> Any:
        """Return the store; opens it at the first call. `None` if the process has none.

        Raises:
            StepgraphError: the setting is wrong, the store cannot be opened, or ``stepgraph[langgraph]`` is missing.
        """
        address = self.address
        if address is None:
            return None
        with self._lock:
            if self._address != address:
                self._store = _open(address)
                self._address = address
            return self._store


def _open(address: str) -> Any:
    try:
        stores = importlib.import_module("stepgraph.langgraph.stores")
    except ImportError as error:
        raise StepgraphError(
            f"A node asks for a store, and {error.name or error}, which has stores, is not installed: "
            f"pip install 'stepgraph[langgraph]'. Or give a store to compile(store=...), or set {SETTING}=none.",
            setting=SETTING,
        ) from error
    return stores.open_store(address)


process_store: Final = ProcessStore()
"""That of this process."""
