"""`worker.py` and `starter.py` serve LangGraph's graphs as they are, and a killed worker loses no step of an agent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.client import Client

from stepgraph.cli.graph_loader import load_graph, load_graphs
from stepgraph.errors import GraphDefinitionError, UnknownGraphError
from tests.commands.projects import Project
from tests.conftest import ROOT, Stage
from tests.patience import eventually_sync

AGENT = f"""
import os
import sys
import time
from pathlib import Path

sys.path.append({str(ROOT)!r})

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.config import get_config

from tests.langgraph.scripted_model import ScriptedModel, calling

HERE = Path(__file__).parent


def note(what):
    with open(HERE / "notes.txt", "a") as notes:
        print(what, get_config()["configurable"]["thread_id"] + "/", os.getpid(), file=notes)


@tool
def look_up(what: str) -> str:
    "Look something up."
    note("look_up")
    return "found " + what


@tool
def wait(what: str) -> str:
    "Wait for a file."
    note("wait")
    while not (HERE / "go").exists():
        time.sleep(0.02)
    return "waited for " + what


SCRIPT = [
    calling(("look_up", {{"what": "x"}})),
    calling(("look_up", {{"what": "y"}}), ("wait", {{"what": "z"}})),
    "end",
]
"""
GRAPH = "graph = create_agent(ScriptedModel(script=SCRIPT), [look_up, wait]NAME)\n"


def agent_in(project: Project, name: str = "") -> str:
    """Write an agent as a file, and return the address of its graph."""
    project.write("helper.py", AGENT + GRAPH.replace("NAME", f", name={name!r}" if name else ""))
    return "helper:graph"


async def test_an_agent_goes_on_after_its_worker_was_killed(project: Project) -> None:
    """Killed with ``kill -9`` in a tool: what was done before is not done again, and the answer is complete."""
    name = f"agent-{project.graph}"
    address = agent_in(project, name)
    worker = project.worker("--graphs", address)
    thread = project.thread()
    question = json.dumps({"messages": [{"role": "user", "content": "look it up"}]})
    started = project.starter("run", name, "--input", question, "--thread", thread, "--detach")
    assert started.status == 0, started.err
    eventually_sync(lambda: project.ran(thread).count("look_up") == 2 and "wait" in project.ran(thread))
    worker.kill()
    project.go()
    project.worker("--graphs", address)
    ended = eventually_sync(lambda: _finished(project, thread))
    assert [message["content"] for message in ended["values"]["messages"]][-3:] == ["found y", "waited for z", "end"]
    assert project.ran(thread).count("wait") == 2
    stage = Stage(await Client.connect(str(project.address)))
    stage.graphs[name] = load_graph(str(project.folder / "helper.py:graph"))
    stage.threads = [thread]
    assert await stage.replay() == 1


def _finished(project: Project, thread: str) -> Any:
    state = project.starter("state", thread, "--json").json
    return state if not state["next"] else None


def test_starter_runs_a_graph_of_langgraph_by_its_address(project: Project) -> None:
    """Without a worker: the command adopts the graph, and serves it as long as it runs."""
    address = agent_in(project)
    project.go()
    run = project.starter("run", address, "--input", '{"messages": "look it up"}', "--thread", project.thread())
    assert run.status == 0, run.err
    assert "waited for z" in run.out


PLAIN = """
from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict):
    n: int


builder = StateGraph(State).add_node("a", lambda state: {"n": 1}).add_edge(START, "a")


def made():
    return builder.compile()
"""


@pytest.mark.parametrize(
    ("text", "address", "names"),
    [
        ("graph = builder.compile()", "plain_NUMBER", ["plain_NUMBER"]),
        ("graph = builder.compile(name='own')", "plain_NUMBER", ["own"]),
        ("graph = builder.compile(name='own'); other = builder.compile()", "plain_NUMBER", ["own", "plain_NUMBER"]),
        ("", "plain_NUMBER:builder", ["plain_NUMBER"]),
        ("", "plain_NUMBER:made", ["plain_NUMBER"]),
        ("import stepgraph; g = builder.compile(); graph = stepgraph.adopt(g, 'mine')", "plain_NUMBER", ["mine"]),
        ("import stepgraph; graph = stepgraph.adopt(builder)", "plain_NUMBER:graph", ["plain_NUMBER"]),
    ],
)
def test_a_graph_of_langgraph_is_adopted_by_its_address(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str, address: str, names: list[str]
) -> None:
    """Its name is its own, or that of its file; a function without parameters is a factory."""
    module = f"plain_{project.graph.replace('-', '_')}"
    project.write(f"{module}.py", f"{PLAIN}\n{text}\n")
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(str(project.folder))
    loaded = load_graphs([address.replace("plain_NUMBER", module)] * 2)
    assert [graph.name for graph in loaded] == [name.replace("plain_NUMBER", module) for name in names]


def test_several_graphs_without_names_are_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """All would be named after their file. The message says how to name one."""
    module = f"several_{project.graph.replace('-', '_')}"
    project.write(f"{module}.py", f"{PLAIN}\none = builder.compile()\ntwo = builder.compile()\n")
    monkeypatch.syspath_prepend(str(project.folder))
    with pytest.raises(UnknownGraphError, match=r"without names: 'one', 'two'\. Name one: "):
        load_graphs([module])


def test_a_graph_that_cannot_be_taken_over_is_refused_by_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line says what `adopt` says."""
    module = f"functional_{project.graph.replace('-', '_')}"
    text = "from langgraph.func import entrypoint\n\n@entrypoint()\ndef job(n: int) -> int:\n    return n\n"
    project.write(f"{module}.py", text)
    monkeypatch.syspath_prepend(str(project.folder))
    with pytest.raises(GraphDefinitionError, match="'job' is a function with @entrypoint"):
        load_graph(f"{module}:job")
