"""The commands of time travel and of answers, as an operator uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.commands.projects import Project, eventually, plain


@pytest.fixture(scope="module", autouse=True)
async def histories(served: Project) -> AsyncIterator[None]:
    """Every history made here is replayed at the end."""
    yield
    await served.replay()


def test_a_thread_is_updated_forked_replayed_and_drawn(served: Project) -> None:
    """Checkpoints are named by step or by the end of an id; one that several have is refused with the candidates."""
    thread, fork = served.thread(), served.thread()
    served.starter("run", served.graph, "--input", "{}", "--thread", thread)

    made = served.starter(
        "update", thread, "--checkpoint", "2", "--values", '{"log": ["by hand"]}', "--as-node", "first"
    )
    assert (made.status, made.err) == (0, "")
    assert plain(made.out).split()[:4] == ["step", "3", "update", "as"] or "first" in made.out
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
        found = plain(served.starter("tree", thread, "--diff").out)
        return found if fork in found else None  # visibility lags

    tree = eventually(drawn).splitlines()
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
    assert steps == list(range(3, 3 + len(steps))), "its own steps, and none from before"
    assert len(steps) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
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
def test_what_cannot_be_done_is_refused_in_words(served: Project, arguments: list[str], said: str) -> None:
    """The culprit and the mend, status 1, and the thread as it was."""
    thread = served.thread()
    served.starter("run", served.graph, "--input", "{}", "--thread", thread)
    ended = served.starter(*(thread if each == "THREAD" else each for each in arguments))
    assert ended.status == 1
    assert said in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert served.starter("state", thread, "--json").json["values"]["log"] == ["first", "beside", "second", "third"]
