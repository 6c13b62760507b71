"""LangGraph's own tests against stepgraph: the part that runs in a minute. ``make parity`` runs all of them."""

from __future__ import annotations

import pytest

from tests.langgraph_suite.known_differences import Known, known_differences
from tests.langgraph_suite.report import BAD, report
from tests.langgraph_suite.run_suite import run_suite

GRAPHS = [
    "test_state.py",
    "test_messages_state.py",
    "test_pydantic.py",
    "test_interruption.py",
    "test_interrupt_state.py",
    "test_time_travel.py",
    "test_large_cases.py",
]
AGENTS = ["test_react_agent.py", "test_tool_node.py"]


@pytest.mark.parametrize(
    ("package", "mode", "files"),
    [("langgraph", "ours", GRAPHS), ("langgraph", "adopt", GRAPHS), ("langgraph-prebuilt", "adopt", AGENTS)],
    ids=["changed imports", "adopted graphs", "adopted agents"],
)
def test_langgraphs_tests_pass_but_for_the_known_differences(package: str, mode: str, files: list[str]) -> None:
    """Of LangGraph's own tests, none fails that is not known to differ, and none passes that is."""
    outcomes = run_suite(package, mode, known_differences(), files=files)
    assert {outcome.file for outcome in outcomes} == set(files)
    assert any(outcome.verdict == "passed" and outcome.ran for outcome in outcomes)
    assert not [outcome for outcome in outcomes if outcome.verdict in BAD], "\n".join(report(outcomes))


@pytest.mark.parametrize(
    ("pattern", "test", "names"),
    [
        ("test_a.py", "test_a.py::test_b[c-1]", True),
        ("test_a.py", "test_ab.py::test_b", False),
        ("test_a.py::test_b", "test_a.py::test_b[c-1]", True),
        ("test_a.py::test_b*", "test_a.py::test_bc", True),
        ("test_a.py::test_b[c-1]", "test_a.py::test_b[c-1]", True),
        ("test_a.py::test_b[c-*]", "test_a.py::test_b[d-1]", False),
        ("test_*.py::test_b", "test_a.py::test_b", True),
    ],
)
def test_a_pattern_names_a_file_a_test_or_a_case(pattern: str, test: str, names: bool) -> None:
    """A pattern without brackets names all cases of a test, and one without colons all tests of a file."""
    known = Known("differs", "it does", (pattern,), modes=("ours",))
    assert (known.pattern_for("ours", test) == pattern) is names
    assert known.pattern_for("adopt", test) is None
