"""What a type checker says of a user's program, in strict mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from mypy import api

from tests.conftest import ROOT

PROGRAM = """
from operator import add
from typing import Annotated, TypedDict

from langchain_core.runnables import RunnableConfig as TheirConfig

from stepgraph import END, START, CheckpointMetadata, Command, Interrupt, RetryPolicy, RunnableConfig
from stepgraph import StateGraph, StateSnapshot, interrupt


class State(TypedDict, total=False):
    query: str
    log: Annotated[list[str], add]


def search(state: State, config: RunnableConfig) -> State:
    return {"log": [state["query"], config["metadata"]["langgraph_node"], interrupt("go on?")]}


async def report(state: State) -> State:
    return {"log": ["report"]}


builder = StateGraph(State)
builder.add_node("search", search, retry_policy=RetryPolicy(initial_interval=0.0)).add_node(report)
builder.add_edge(START, "search").add_edge("search", "report").add_edge("report", END)
graph = builder.compile(name="typed")
config: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": 10}
theirs: TheirConfig = {"configurable": {"thread_id": "t"}}


def newest(limit: int) -> StateSnapshot:
    step = 0
    for snapshot in graph.get_state_history(config, limit=limit):
        step += snapshot.metadata["step"]
        writers: list[str] = sorted(snapshot.metadata["writes"] or {})
        print(writers, snapshot.metadata["source"] == "loop", snapshot.next)
    return graph.get_state(theirs)


def edit(metadata: CheckpointMetadata) -> RunnableConfig:
    snapshot = newest(3)
    if snapshot.metadata is None:
        raise LookupError(metadata["step"])
    for task in snapshot.tasks:
        waiting: tuple[Interrupt, ...] = task.interrupts
        print(task.id, task.name, task.path[0], task.error or "", waiting, task.result)
    config = snapshot.parent_config or snapshot.config
    config = graph.update_state(config, {"log": ["by hand"]}, as_node="search")
    graph.invoke(Command(resume={waiting.id: "yes" for waiting in snapshot.interrupts}), config)
    graph.invoke({"query": "x"}, theirs)
    return config
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A user's file, in a directory of its own."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def problems(*paths: Path, options: Sequence[str] = ()) -> str:
    """Return what mypy reports of files or folders, with its own settings only."""
    cache = ROOT / ".mypy_cache" / "user_types"
    settings = ["--strict", "--config-file=", "--python-version=3.11", f"--cache-dir={cache}", "--no-error-summary"]
    out, err, _ = api.run([*settings, *options, *map(str, paths)])
    return out + err


def test_a_users_program_passes_in_strict_mode(program: Path) -> None:
    """Snapshots, tasks, metadata, interrupts and configs are typed; no attribute needs an assertion or a cast."""
    assert problems(program) == ""


def test_the_examples_pass_in_strict_mode() -> None:
    """What people copy from is typed, too. LangChain's types are wider than what its programs rely on."""
    assert problems(ROOT / "examples", options=["--exclude=examples/langgraph/"]) == ""


def test_programs_with_changed_imports_pass_in_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations written for LangGraph fit stepgraph's names. Some members of LangChain's unions lack an attribute."""
    folder = ROOT / "examples" / "langgraph"
    monkeypatch.setenv("MYPYPATH", str(folder))  # where they find their fake model
    options = ("--explicit-package-bases", "--disable-error-code=union-attr")
    programs = [path for path in folder.glob("*.py") if "from stepgraph import" in path.read_text()]
    assert problems(*programs, options=options) == ""


def test_a_misspelled_key_is_found(program: Path) -> None:
    """Metadata and configs are mappings of known keys."""
    program.write_text(PROGRAM.replace('.metadata["step"]', '.metadata["stpe"]').replace('"recursion', '"recusion'))
    found = problems(program)
    assert 'TypedDict "CheckpointMetadata" has no key "stpe"' in found
    assert 'Extra key "recusion_limit"' in found
