"""The commands update, fork, replay, tree and resume, as an operator uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.commands.projects import Project, plain
from tests.patience import eventually_sync


@pytest.fixture(scope="module", autouse=True)
async def histories(served: Project) -> AsyncIterator[None]:
    """Replay every history of this module at the end."""
    yield
    await served.replay()


def test_a_thread_is_updated_forked_replayed_and_drawn(served: Project) -> None:
    """A checkpoint is named by its step or by the end of its id; an ambiguous name is refused with the candidates."""
    thread, fork = served.thread(), served.thread()
    served.starter("run", served.graph, "--input", "{}", "--thread", thread)

    updated = served.starter(
        "update", thread, "--checkpoint", "2", "--values", '{"log": ["by hand"]}', "--as-node", "first"
    )
    assert (updated.status, updated.err) == (0, "")
    assert plain(updated.out).split()[:4] == ["step", "3", "update", "as"] or "first" in updated.out
    assert ", waiting" in plain(served.starter("state", thread).out)
    resumed = served.starter("resume", thread, "--json")
    assert resumed.json["values"]["log"] == ["first", "by hand", "beside", "second", "third"]

    ambiguous = served.starter("replay", thread, "4")
    assert ambiguous.status == 1
    assert "'4' names 2 checkpoints" in ambiguous.err

    forked = served.starter("fork", thread, "--checkpoint", "2", "--to", fork, "--json")
    assert forked.json["thread_id"] == fork
    assert forked.json["values"]["log"] == ["first", "beside", "second", "third"]
    replayed = served.starter("replay", thread, "2", "--json")
    assert replayed.json["values"]["log"] == ["first", "beside", "second", "third"]

    def drawn() -> str | None:
        text = plain(served.starter("tree", thread, "--diff").out)
        return text if fork in text else None  # visibility lags

    tree = str(eventually_sync(drawn)).splitlines()
    assert tree[0].startswith(thread)
    assert [line for line in tree if "◀ head" in line] == [tree[-2]]
    assert sum("├─●" in line or "└─●" in line for line in tree) == 3
    assert any('~ log: and ["by hand"]' in line for line in tree)
    mermaid = served.starter("history", thread, "--mermaid").out
    assert mermaid.startswith("flowchart TD\n")
    assert mermaid.count("-->") == 10
    as_json = served.starter("tree", thread, "--json").json
    assert list(as_json["forks"].values()) == [[fork]]
    assert len(as_json["checkpoints"]) == 11
    again = plain(served.starter("replay", thread, "2").out).splitlines()
    steps = [int(line.split()[1]) for line in again if line.startswith("step")]
    assert steps == list(range(3, 3 + len(steps))), "the steps of the replay, and no earlier ones"
    assert len(steps) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["update", "THREAD", "--values", '{"lgo": []}'], "a key 'lgo' that its state does not declare"),
        (["update", "THREAD", "--as-node", "frist"], "no node 'frist' to make an update as. Did you mean 'first'?"),
        (["update", "THREAD", "--values", "{"], "is not JSON"),
        (["update", "nowhere", "--values", "{}"], "There is no thread 'nowhere'"),
        (["fork", "THREAD", "--checkpoint", "99"], "has no checkpoint '99'"),
        (["fork", "THREAD", "--to", "THREAD"], "There is a thread"),
        (["resume", "THREAD", "--answer", "yes"], "does not wait for an answer"),
    ],
)
def test_an_impossible_command_is_refused_with_a_message(served: Project, arguments: list[str], message: str) -> None:
    """An impossible command prints a message and exits with status 1; the thread does not change."""
    thread = served.thread()
    served.starter("run", served.graph, "--input", "{}", "--thread", thread)
    ended = served.starter(*(thread if each == "THREAD" else each for each in arguments))
    assert ended.status == 1
    assert message in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert served.starter("state", thread, "--json").json["values"]["log"] == ["first", "beside", "second", "third"]
