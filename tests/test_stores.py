"""The store of a process: which one it is, and what LangGraph's SQLite store does when several processes use it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from stepgraph.errors import StepgraphError
from stepgraph.hosting.process_store import ProcessStore
from stepgraph.langgraph.stores import open_store

ROOT = Path(__file__).parent.parent
kept = InMemoryStore()


def embed(texts: list[str]) -> list[list[float]]:
    return [[float("tea" in text), float("rain" in text)] for text in texts]


def searching() -> InMemoryStore:
    return InMemoryStore(index={"dims": 2, "embed": embed, "fields": ["text"]})


@contextlib.contextmanager
def managed() -> Iterator[InMemoryStore]:
    yield kept


def no_store() -> dict[str, Any]:
    return {}


def broken() -> BaseStore:
    raise ConnectionError("nothing listens there")


@pytest.fixture(autouse=True)
def _no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEPGRAPH_STORE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_an_address_names_a_store_of_langgraph(tmp_path: Path) -> None:
    """A path after three slashes is relative, one after four absolute; a function of the user's may make the store."""
    assert isinstance(open_store("memory"), InMemoryStore)
    open_store("sqlite:///here/store.db").put(("a",), "k", {"v": 1})
    found = open_store(f"sqlite:///{tmp_path}/here/store.db").get(("a",), "k")
    assert found.value == {"v": 1}
    assert open_store(f"{__name__}:kept") is kept
    assert open_store(f"{__name__}:managed") is kept
    assert isinstance(open_store(f"{__name__}:searching"), InMemoryStore)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "redis://host",
            "STEPGRAPH_STORE is memory, sqlite:///file.db, postgresql://user@host/database, module:function",
        ),
        ("sqlite://store.db", "STEPGRAPH_STORE is memory, sqlite:///file.db,"),
        ("mongodb://me:secret@host/db", r"got 'mongodb://\.\.\.@host/db'"),
        (
            "postgresql://me:secret@host/db",
            "langgraph.store.postgres.* is not installed: pip install langgraph-checkpoint",
        ),
        (
            "sqlite:////dev/null/store.db",
            "store 'sqlite:////dev/null/store.db' of STEPGRAPH_STORE cannot be opened: FileExistsError",
        ),
        (f"{__name__}:broken", "cannot be opened: ConnectionError: nothing listens there"),
        (f"{__name__}:missing", "cannot be opened: AttributeError: module"),
        (f"{__name__}:no_store", f"STEPGRAPH_STORE={__name__}:no_store gives dict. It must be a BaseStore"),
    ],
)
def test_a_store_that_cannot_be_opened_is_an_error_that_says_why(address: str, message: str) -> None:
    """The error names the setting and hides passwords."""
    with pytest.raises(StepgraphError, match=message) as caught:
        open_store(address)
    assert "secret" not in caught.value.message


def test_the_setting_comes_before_the_embedded_servers_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an embedded server and a setting there is no store; ``none`` switches the embedded server's off."""
    store = ProcessStore()
    assert store.open() is None
    store.stand_beside(tmp_path)
    assert isinstance(store.open(), SqliteStore)
    assert store.open() is store.open()
    assert (tmp_path / "store.db").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("STEPGRAPH_STORE", "none")
    assert store.open() is None
    monkeypatch.setenv("STEPGRAPH_STORE", "memory")
    assert isinstance(store.open(), InMemoryStore)


def test_without_the_extra_a_node_that_asks_for_a_store_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is imported, and nothing fails, before a node asks."""
    monkeypatch.setitem(sys.modules, "stepgraph.langgraph.stores", None)
    store = ProcessStore()
    store.stand_beside(tmp_path)
    with pytest.raises(StepgraphError, match=r"A node asks for a store, .* pip install 'stepgraph\[langgraph\]'"):
        store.open()


async def test_the_sqlite_store_serves_nodes_of_both_kinds(tmp_path: Path) -> None:
    """Functions on threads use its methods, async functions the awaitable ones, at once."""
    store = open_store("sqlite:///store.db")
    writes = [store.aput(("n",), str(n), {"n": n}) for n in range(20)]
    writes += [asyncio.to_thread(store.put, ("n",), str(n), {"n": n}) for n in range(20, 40)]
    await asyncio.gather(*writes)
    items = await store.asearch(("n",), limit=100)
    assert sorted(item.value["n"] for item in items) == list(range(40))
    assert (await asyncio.to_thread(store.get, ("n",), "7")).value == {"n": 7}


def test_search_by_meaning_works_as_the_package_does_it() -> None:
    """A store that the user's function makes with an embedding function ranks by similarity."""
    store = open_store(f"{__name__}:searching")
    store.put(("likes",), "1", {"text": "rain in May"})
    store.put(("likes",), "2", {"text": "green tea"})
    assert [item.key for item in store.search(("likes",), query="a cup of tea", limit=1)] == ["2"]


WRITER = """
import sys
from stepgraph.langgraph.stores import open_store
from langgraph.store.base import GetOp, PutOp

store, me = open_store("sqlite:///shared.db"), sys.argv[1]
for number in range(int(sys.argv[2])):
    store.put((me,), str(number), {"n": number})
    count = store.get(("all",), me)
    store.batch([GetOp(("all",), me), PutOp(("all",), me, {"n": number})])
    print(number, flush=True)
"""


def writer(name: str, count: int) -> subprocess.Popen[str]:
    """Start a process that writes to the shared store, and prints each number once its write is acknowledged."""
    command = [sys.executable, "-c", WRITER, name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)})


def test_several_processes_make_and_use_one_sqlite_store() -> None:
    """Processes that find no file make it at once, and no write of any of them fails or is lost."""
    writers = {name: writer(name, 40) for name in ("a", "b", "c")}
    for process in writers.values():
        process.communicate()
    assert [process.returncode for process in writers.values()] == [0, 0, 0]
    store = open_store("sqlite:///shared.db")
    assert {name: len(store.search((name,), limit=100)) for name in writers} == {"a": 40, "b": 40, "c": 40}
    assert {item.key: item.value for item in store.search(("all",))} == {name: {"n": 39} for name in writers}
    assert [path.name for path in Path.cwd().iterdir() if path.name.rpartition(".")[2].isdecimal()] == []


def test_a_process_that_is_killed_loses_no_acknowledged_write() -> None:
    """After ``kill -9`` in the middle, the store has everything that `put` has returned for, and others go on."""
    process = writer("a", 100_000)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(30)][-1]
    process.kill()
    acknowledged = max([acknowledged, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
    process.wait()
    process.stdout.close()
    store = open_store("sqlite:///shared.db")
    keys = {item.key for item in store.search(("a",), limit=200_000)}
    assert {str(number) for number in range(acknowledged + 1)} <= keys
    store.put(("b",), "after", {"v": 1})
    assert store.get(("b",), "after").value == {"v": 1}
