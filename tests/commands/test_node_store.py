"""The store that nodes find in processes of their own: beside the embedded server, or where STEPGRAPH_STORE says."""

from __future__ import annotations

import pytest

from tests.commands.projects import Project
from tests.conftest import EMBEDS, ROOT
from tests.patience import eventually_sync

REMEMBERING = """
import json
import sys
import time
from pathlib import Path

from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph, get_store


class State(TypedDict, total=False):
    name: str
    known: list[str]


def remember(state, store):
    store.put(("people",), state["name"], {"met": True})
    while not Path("go").exists():
        time.sleep(0.05)


async def recall(state):
    return {"known": sorted(item.key for item in await get_store().asearch(("people",)))}


builder = StateGraph(State).add_sequence([remember, recall]).add_edge(START, "remember").add_edge("recall", END)
graph = builder.compile(name="NAME")
if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(graph.invoke({"name": name}, {"configurable": {"thread_id": "NAME-" + name}})["known"]))
"""


@pytest.mark.xdist_group(EMBEDS)
def test_with_the_embedded_server_nodes_have_a_store_without_being_told(embedding: Project) -> None:
    """What a script's nodes store is in a file beside the server's database, and the next script's nodes find it."""
    embedding.go()
    script = embedding.write("remembering.py", REMEMBERING.replace("NAME", embedding.graph))
    first = embedding.start(script, "ada").ended()
    assert first.out == '["ada"]\n', first
    assert (embedding.folder / ".stepgraph" / "store.db").exists()
    second = embedding.start(script, "bob").ended()
    assert second.out == '["ada", "bob"]\n', second


def test_workers_share_the_store_that_the_setting_names(project: Project) -> None:
    """A worker that is killed after its node has stored something leaves it to the worker that goes on."""
    project.write("remembering.py", REMEMBERING.replace("NAME", project.graph))
    setting = {"STEPGRAPH_STORE": "sqlite:///shared.db", "STEPGRAPH_LOG_FORMAT": "json"}
    killed = project.worker("--graphs", "remembering:graph", **setting)
    started = project.start("remembering.py", "ada", env={"STEPGRAPH_WORKERS": "external"})
    eventually_sync(lambda: any(event["event"] == "node starts" for event in killed.events), lambda: killed.err)
    read = "from stepgraph.langgraph.stores import open_store; s = open_store('sqlite:///shared.db'); "
    show = project.write("show.py", read + "print([item.key for item in s.search(('people',))])")
    eventually_sync(lambda: project.start(show).ended().out == "['ada']\n")
    killed.kill()
    project.go()
    project.worker("--graphs", "remembering:graph", **setting)
    assert started.ended().out == '["ada"]\n', started.err


def test_a_worker_whose_store_cannot_be_opened_does_not_start(project: Project) -> None:
    """The setting is checked before the worker takes work."""
    command = (ROOT / "worker.py", "--graphs", "steps:graph", "--check")
    ended = project.start(*command, env={"STEPGRAPH_STORE": "redis://x"}).ended()
    assert ended.status == 1
    assert "STEPGRAPH_STORE is memory, sqlite:///file.db" in ended.err
