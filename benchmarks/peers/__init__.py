"""The peers: how each one runs the jobs. A peer's module is imported only in the process that hosts it."""

from __future__ import annotations

from importlib import import_module

from benchmarks.peers.peer import Peer

PEERS = {
    "floor": "Temporal by hand",
    "ours": "stepgraph",
    "official": "temporalio-langgraph",
    "community": "langgraph-temporal",
    "sqlite": "LangGraph, SqliteSaver",
    "dbos": "DBOS, SQLite",
}
"""Name on the command line -> label in the tables.

The floor is the baseline: each job as a hand-written workflow of plain activities. Nothing on Temporal can be much
faster. The modules ``ours_reading`` and ``ours_external_storage`` are stepgraph, too; cases start them by name.
"""


def load(name: str) -> type[Peer]:
    """Returns the class of a peer. Raises `ImportError` if a package that it needs is not installed."""
    peer: type[Peer] = import_module(f"benchmarks.peers.{name}").PEER
    return peer
