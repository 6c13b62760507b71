"""The plugin of pytest: fixtures in place of those in LangGraph's ``conftest.py``, and the record of what happened.

A checkpointer, store or cache is one in memory: which database keeps checkpoints is no question of these tests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from adapter import surface
from adapter.changed_imports import ChangedImports
from adapter.not_applicable import PREFIX, unavailable
from adapter.stored_snapshots import StoredSnapshots
from adapter.threads import Threads
from known_differences import known_differences
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

MODE = os.environ["LANGGRAPH_SUITE_MODE"]
"""``ours``, ``adopt``, or ``langgraph``: LangGraph itself, which shows that a test works in this environment."""

OUTCOMES = Path(os.environ["LANGGRAPH_SUITE_OUTCOMES"])
"""Where the outcome of each test is written, as lines of JSON."""

SECONDS = 20
"""How long one test may take."""

_UNAVAILABLE = {
    "entrypoint": "the functional API",
    "task": "the functional API",
    "Pregel": "Pregel graphs without a StateGraph",
    "NodeBuilder": "Pregel graphs without a StateGraph",
    "RemoteGraph": "LangGraph's server",
}


def _names() -> dict[str, Any]:
    if MODE == "langgraph":
        return {}
    if MODE == "ours":
        from adapter.ours import names
    else:
        from adapter.adopted import names
    savers = {"InMemorySaver": Threads, "MemorySaver": Threads}
    return {**{name: unavailable(name, reason) for name, reason in _UNAVAILABLE.items()}, **savers, **names()}


def pytest_configure(config: pytest.Config) -> None:
    """Change what the tests import."""
    sys.meta_path.insert(0, ChangedImports(_names()))
    for module, name in (("pytest_mock", "MockerFixture"), ("syrupy", "SnapshotAssertion")):  # of annotations only
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, Any)
    config.addinivalue_line("filterwarnings", "ignore")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that are known not to be applicable."""
    known = [] if MODE == "langgraph" else [entry for entry in known_differences() if entry.kind == "not_applicable"]
    for item in items:
        test = item.nodeid.removeprefix("tests/")
        for entry in known:
            if entry.pattern_for(MODE, test) is not None:
                item.add_marker(pytest.mark.skip(reason=PREFIX + entry.reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End a test that takes too long, and note whether it ran a graph."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"The test takes longer than {SECONDS} seconds.")

    before = surface.runs
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    item.user_properties.append(("runs", surface.runs - before))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the outcome of a test."""
    if os.environ.get("PYTEST_XDIST_WORKER") or (report.when == "teardown" and report.passed):
        return
    if report.when == "setup" and report.passed:
        return
    _write(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write that a file cannot be imported."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        _write(report)


def _write(report: Any) -> None:
    reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = crash.message if crash else str(report.longrepr)
    outcome = {
        "test": report.nodeid.removeprefix("tests/"),
        "outcome": report.outcome,
        "reason": reason,
        "runs": dict(getattr(report, "user_properties", ())).get("runs", 0),
        "seconds": getattr(report, "duration", 0.0),
    }
    with OUTCOMES.open("a") as file:
        file.write(json.dumps(outcome) + "\n")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> Any:
    """LangGraph's three modes."""
    return request.param


@pytest.fixture(params=["memory"])
def sync_checkpointer(request: pytest.FixtureRequest) -> Any:
    """A checkpointer, which stands for a set of threads."""
    return InMemorySaver() if MODE == "langgraph" else Threads()


@pytest.fixture(params=["memory"])
def async_checkpointer(request: pytest.FixtureRequest) -> Any:
    """A checkpointer, which stands for a set of threads."""
    return InMemorySaver() if MODE == "langgraph" else Threads()


@pytest.fixture(params=["in_memory"])
def sync_store(request: pytest.FixtureRequest) -> Any:
    """A store."""
    return InMemoryStore()


@pytest.fixture(params=["in_memory"])
def async_store(request: pytest.FixtureRequest) -> Any:
    """A store."""
    return InMemoryStore()


@pytest.fixture(params=["memory"])
def cache(request: pytest.FixtureRequest) -> Any:
    """A cache of nodes' results."""
    return InMemoryCache()


@pytest.fixture
def mocker() -> Any:
    """What these tests use of pytest-mock."""
    return SimpleNamespace(Mock=mock.Mock)


@pytest.fixture
def deterministic_uuids() -> Iterator[None]:
    """``uuid.uuid4`` counts."""
    uuids = (UUID(f"00000000-0000-4000-8000-{i:012}", version=4) for i in range(10000))
    with mock.patch("uuid.uuid4", side_effect=uuids):
        yield


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> StoredSnapshots:
    """The stored snapshots of the test."""
    return StoredSnapshots(request.path, request.node.name)


warnings.simplefilter("ignore")
