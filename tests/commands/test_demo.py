"""`starter.py demo`: graphs fail, are resumed and show their history, without any preparation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands.projects import Ended, Project, embeds
from tests.conftest import EMBEDS

pytestmark = pytest.mark.xdist_group(EMBEDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A folder in which nothing has run before."""
    if not embeds():
        pytest.skip("something listens on localhost:7233, or there is no server to embed")
    project = Project(tmp_path_factory.mktemp("demo"))
    yield project
    project.end()


@pytest.fixture(scope="module")
def as_json(folder: Project) -> Ended:
    """The demonstration with its output as JSON."""
    return folder.starter("demo", "--json")


@pytest.fixture(scope="module")
def as_text(folder: Project, as_json: Ended) -> Ended:
    """The demonstration with its output as text."""
    return folder.starter("demo")


def test_only_the_failed_nodes_run_twice(as_json: Ended) -> None:
    """The JSON document has how often each node ran, and the steps of the history, newest first."""
    assert (as_json.status, as_json.err) == (0, "")
    threads = as_json.json["threads"]
    assert threads["research"]["runs"] == {"gather": 1, "analyze": 2, "report": 1}
    assert threads["research"]["steps"] == [4, 3, 2, 1, 0]
    assert threads["parallel"]["runs"] == {"flights": 1, "hotels": 2, "choose": 1}
    assert threads["parallel"]["steps"] == [3, 2, 1, 0]


def test_the_text_has_failure_saved_state_resume_and_history(as_text: Ended) -> None:
    """The text has failure, saved state, resume and history in the order in which they happen."""
    assert (as_text.status, as_text.err) == (0, "")
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
            "hotels: ConnectionError('the hotel service does not answer')",
            "next: ('hotels',)",
            "result: flight to Lisbon, 120 € + hotel in Lisbon, 80 €",
            "runs of each node: {'flights': 1, 'hotels': 2, 'choose': 1}",
        ]
    )
    text = next(expected)
    for line in as_text.out.splitlines():
        if text in line:
            text = next(expected, "")
            if not text:
                break
    assert text == "", as_text.out


def test_the_last_lines_have_the_threads_and_the_address_of_the_web_ui(folder: Project, as_text: Ended) -> None:
    """At the end, each thread is on its own line, with its own address."""
    web_ui = folder.server()["web_ui"]
    *_, research, parallel, _, last = as_text.out.splitlines()
    assert last == f"Web UI: {web_ui}"
    for name, line in (("research", research), ("parallel", parallel)):
        thread = line.split()[2]
        assert thread.startswith(f"{name}-")
        assert line == f"{name}: thread {thread}  {web_ui}/namespaces/default/workflows/{thread}"
    assert folder.starter("state", research.split()[2], "--json").json["next"] == []


def test_all_files_are_in_a_folder_that_git_ignores(folder: Project, as_text: Ended) -> None:
    """All files are in the folder ``.stepgraph``, which has its own ``.gitignore``."""
    names = {path.name for path in folder.folder.iterdir()} - {"steps.py"}
    assert {name for name in names if not name.endswith((".out", ".err"))} == {".stepgraph"}
    assert (folder.folder / ".stepgraph" / ".gitignore").read_text() == "*\n"
