"""The peers: how each does the jobs. A module is imported only in the process that hosts its peer."""

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
"""Name -> what the tables call it. The floor is a workflow of plain activities, written by hand for the job."""


def load(name: str) -> type[Peer]:
    """The class of a peer. `ImportError` if what it needs is not installed."""
    peer: type[Peer] = import_module(f"benchmarks.peers.{name}").PEER
    return peer
