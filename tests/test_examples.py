"""Every example prints the outcomes of the checkpointing lesson."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.conftest import ROOT
from tests.patience import PATIENCE

OUTCOMES = {
    "research": [
        "Failed: Node 'analyze' of graph 'research' failed in step 3",
        "Saved:  ['paper_1.pdf', 'paper_2.pdf', 'paper_3.pdf'], next ('analyze',)",
        "Report: 3 sources on state management agree.",
        "Step 4: report",
        "Step 3: analyze",
        "Step 2: gather",
        "Step 1: __start__",
        "Step 0: input",
        "Runs of each node: {'gather': 1, 'analyze': 2, 'report': 1}",
    ],
    "parallel": [
        "Failed: Node 'hotels' of graph 'parallel' failed in step 2",
        "To run: ('hotels',)",
        "flight to Lisbon, 120 € + hotel in Lisbon, 80 €",
        "Runs of each node: {'flights': 1, 'hotels': 2, 'choose': 1}",
    ],
    "time_travel": [
        "replay:               Found 2 sources on checkpoints",
        "fork, more sources:   Found 4 sources on checkpoints",
        "without a reducer:    edited",
        "as a human:           ['source_1.pdf', 'source_2.pdf', 'manually_added'] manually_approved ('analyze',)",
        "as analyze:           ('report',)",
        "as search:            ('analyze',)",
        "injected:             Analyzed by hand on checkpoints",
        "resumed in a loop:    Found 2 sources on checkpoints",
        "runs of each node:    {'search': 8, 'analyze': 8, 'report': 7}",
    ],
    "approval": ["interrupt: [Interrupt(value={'approve?': 900}", "resumed:   paid"],
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_example_prints_what_the_lesson_says(server: WorkflowEnvironment, name: str) -> None:
    """Each line begins as expected, and there are no other lines."""
    ended = subprocess.run(
        [sys.executable, f"examples/{name}.py"],
        cwd=ROOT,
        env={**os.environ, "TEMPORAL_ADDRESS": server.client.service_client.config.target_host},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    printed = ended.stdout.splitlines()
    assert len(printed) == len(OUTCOMES[name])
    for line, expected in zip(printed, OUTCOMES[name], strict=True):
        assert line.startswith(expected)


def test_every_example_is_run() -> None:
    """This module has the outcomes of every file in ``examples``."""
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__"}
    assert examples == set(OUTCOMES)
