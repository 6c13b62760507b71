"""Runs LangGraph's tests in one mode, in a process of their own, and reads what became of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.langgraph_suite.known_differences import Known
from tests.langgraph_suite.sources import suite_of

NOT_APPLICABLE = "not applicable: "
NO_TESTS = 5
"""pytest's exit code for that."""

FILES = {
    "langgraph": [
        "test_pregel.py",
        "test_pregel_async.py",
        "test_large_cases.py",
        "test_large_cases_async.py",
        "test_state.py",
        "test_messages_state.py",
        "test_pydantic.py",
        "test_interruption.py",
        "test_interrupt_state.py",
        "test_strict_resume.py",
        "test_time_travel.py",
        "test_time_travel_async.py",
        "test_retry.py",
        "test_runtime.py",
        "test_runnable.py",
        "test_managed_values.py",
        "test_parent_command.py",
        "test_parent_command_async.py",
        "test_subgraph_persistence.py",
        "test_subgraph_persistence_async.py",
        "test_graph_callbacks.py",
        "test_channels.py",
        "test_type_checking.py",
    ],
    "langgraph-prebuilt": [
        "test_react_agent.py",
        "test_react_agent_graph.py",
        "test_tool_node.py",
        "test_on_tool_call.py",
        "test_tool_node_interceptor_unregistered.py",
        "test_tool_node_validation_error_filtering.py",
        "test_injected_state_not_required.py",
        "test_validation_node.py",
        "test_deprecation.py",
        "test_tool_call_transformer.py",
    ],
}
"""The tests that are run, by package. The prebuilt agents are graphs of LangGraph's, so they run adopted only."""

Verdict = Literal["passed", "differs", "not applicable", "failed", "no longer differs"]


class SuiteError(Exception):
    """The tests did not run to their end."""


@dataclass(frozen=True)
class Outcome:
    """What became of a test."""

    package: str
    mode: str
    test: str
    verdict: Verdict
    reason: str
    """Why it is not applicable or known to differ, or what the failure says."""
    pattern: str | None
    """The pattern by which it is known."""
    ran: bool
    """Whether stepgraph ran a graph in it. There are tests of functions, of definitions and of drawings."""

    @property
    def file(self) -> str:
        """The file that the test is in."""
        return self.test.partition("::")[0]


def run_suite(
    package: str, mode: str, known: Sequence[Known], *, files: Sequence[str] = (), options: Sequence[str] = ()
) -> list[Outcome]:
    """Run the tests of a package in a mode.

    Args:
        package: a key of `FILES`.
        mode: ``"ours"`` or ``"adopt"``; ``"langgraph"`` runs them against LangGraph itself.
        known: what is known of the tests.
        files: the files to run; by default all.
        options: further options for pytest.

    Raises:
        SuiteError: the process ended before it had run all tests.
    """
    folder = suite_of(package)
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = Path(scratch) / "outcomes"
        outcomes.touch()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(folder)]),
            "LANGGRAPH_SUITE_MODE": mode,
            "LANGGRAPH_SUITE_OUTCOMES": str(outcomes),
        }
        settings = [
            "-p",
            "adapter.plugin",
            "-p",
            "no:cacheprovider",
            "--noconftest",
            "--continue-on-collection-errors",
            "-q",
            "--tb=line",
            "-rN",
        ]
        paths = [f"tests/{file}" for file in files or FILES[package]]
        command = [sys.executable, "-m", "pytest", *settings, *options, *paths]
        pytest = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if pytest.returncode not in (0, 1, NO_TESTS):
            raise SuiteError(f"pytest ended with code {pytest.returncode} in {folder}:\n{pytest.stdout}{pytest.stderr}")
        found = [json.loads(line) for line in outcomes.read_text().splitlines()]
    return [_outcome(package, mode, known, result) for result in found]


def _outcome(package: str, mode: str, known: Sequence[Known], result: dict[str, str]) -> Outcome:
    reason, pattern, verdict = result["reason"], None, "failed"
    if result["outcome"] == "skipped":
        verdict, reason = "not applicable", reason.removeprefix(NOT_APPLICABLE)
    elif result["outcome"] == "passed":
        verdict = "passed"
    for entry in known:
        if (pattern := entry.pattern_for(mode, result["test"])) is not None:
            if entry.kind == "differs" and verdict in ("failed", "passed"):
                verdict, reason = "differs" if verdict == "failed" else "no longer differs", entry.reason
            break
    return Outcome(package, mode, result["test"], verdict, reason, pattern, bool(result["runs"]))  # type: ignore[arg-type]  # of the names above
