"""The README is true: its example runs, its snippets compile, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from stepgraph.cli import starter_app as starter
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """It fails, is resumed, and prints the history across both runs."""
    script = tmp_path / "essay.py"
    script.write_text(blocks("python")[0])
    address = server.client.service_client.config.target_host
    ran = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "TEMPORAL_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    printed = ran.stdout.splitlines()
    assert "ConnectionError: the model does not answer" in printed[0]
    assert printed[1:3] == ["('analyze',)", "2 sources on checkpoints"]
    assert [line.split()[0] for line in printed[3:]] == ["3", "2", "1", "0"]


@pytest.mark.parametrize("block", blocks("python"))
def test_a_snippet_is_python(block: str) -> None:
    """It compiles, also where it awaits at the top."""
    import ast

    compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_commands_exist() -> None:
    """Every `starter.py` command that the README uses."""
    used = set(re.findall(r"^python starter\.py (\w+)", README, re.MULTILINE))
    there = {
        command.name or command.callback.__name__ for command in starter.app.registered_commands if command.callback
    }
    assert used == {"run", "resume", "state", "history", "threads", "graph", "update", "fork", "replay", "tree"}
    assert used <= there


def test_the_files_it_links_to_are_there() -> None:
    """Every relative link leads somewhere."""
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_make_targets_exist() -> None:
    """Every `make` command that the documents use."""
    text = README + (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / ".ci" / "run").read_text()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (demo|test|check|lock)\b", text)) <= targets
