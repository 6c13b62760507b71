"""`starter.py demo`: the main job, with nothing prepared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands.projects import Ended, Project, embeds

pytestmark = pytest.mark.xdist_group("localhost:7233")  # what embeds a server looks there for one first


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A folder where nothing has run before."""
    if not embeds():
        pytest.skip("something listens on localhost:7233, or there is no server to embed")
    project = Project(tmp_path_factory.mktemp("demo"))
    yield project
    project.end()


@pytest.fixture(scope="module")
def told(folder: Project) -> Ended:
    """The demonstration as JSON."""
    return folder.starter("demo", "--json")


@pytest.fixture(scope="module")
def shown(folder: Project, told: Ended) -> Ended:
    """The demonstration for people."""
    return folder.starter("demo")


def test_it_runs_what_failed_and_nothing_twice(told: Ended) -> None:
    """How often each node ran, and the steps of the history, newest first."""
    assert (told.status, told.err) == (0, "")
    threads = told.json["threads"]
    assert threads["research"]["runs"] == {"gather": 1, "analyze": 2, "report": 1}
    assert threads["research"]["steps"] == [4, 3, 2, 1, 0]
    assert threads["parallel"]["runs"] == {"flights": 1, "hotels": 2, "choose": 1}
    assert threads["parallel"]["steps"] == [3, 2, 1, 0]


def test_it_shows_the_failure_what_was_saved_the_resume_and_the_history(shown: Ended) -> None:
    """In the order in which they happen."""
    assert (shown.status, shown.err) == (0, "")
    expected = iter(
        [
            "Embedded Temporal at 127.0.0.1:",
            "caught ConnectionError: Node 'analyze' of graph 'research' failed in step 3",
            "saved sources: ['paper_1.pdf', 'paper_2.pdf', 'paper_3.pdf']",
            "next: ('analyze',)",
            "resume: invoke(None, config)",
            "result: Report: 3 sources on state management agree.",
            "checkpoint",
            "report: summary",
            "analyze: analysis",
            "gather: sources",
            "__start__: query",
            "input",
            "runs of each node: {'gather': 1, 'analyze': 2, 'report': 1}",
            "caught ConnectionError: Node 'hotels' of graph 'parallel' failed in step 2",
            "flights: {'offers': ['flight to Lisbon, 120 €']}",
            "hotels: ConnectionError: the hotel service does not answer",
            "next: ('hotels',)",
            "result: flight to Lisbon, 120 € + hotel in Lisbon, 80 €",
            "runs of each node: {'flights': 1, 'hotels': 2, 'choose': 1}",
        ]
    )
    wanted = next(expected)
    for line in shown.out.splitlines():
        if wanted in line:
            wanted = next(expected, "")
            if not wanted:
                break
    assert wanted == "", shown.out


def test_it_ends_with_the_threads_and_the_address_of_the_web_ui(folder: Project, shown: Ended) -> None:
    """Each thread with its own address, on a line of its own."""
    web_ui = folder.server()["web_ui"]
    *_, research, parallel, _, last = shown.out.splitlines()
    assert last == f"Web UI: {web_ui}"
    for name, line in (("research", research), ("parallel", parallel)):
        thread = line.split()[2]
        assert thread.startswith(f"{name}-")
        assert line == f"{name}: thread {thread}  {web_ui}/namespaces/default/workflows/{thread}"
    assert folder.starter("state", research.split()[2], "--json").json["next"] == []


def test_it_writes_nowhere_but_under_its_own_folder(folder: Project, shown: Ended) -> None:
    """And git is told to ignore that."""
    made = {path.name for path in folder.folder.iterdir()} - {"steps.py"}
    assert {name for name in made if not name.endswith((".out", ".err"))} == {".stepgraph"}
    assert (folder.folder / ".stepgraph" / ".gitignore").read_text() == "*\n"
