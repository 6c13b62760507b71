"""The README and the documentation are correct: examples run, snippets compile, commands, links and targets exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from stepgraph.cli import starter_app as starter
from stepgraph.temporal.settings import ENVIRONMENT
from tests.conftest import ROOT
from tests.patience import PATIENCE

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
TEXT = "\n".join(PAGES.values())


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language on a page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def test_the_example_runs_unchanged(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """The example fails, is resumed, and prints the history of both runs."""
    script = tmp_path / "essay.py"
    script.write_text(blocks("README.md", "python")[0])
    address = server.client.service_client.config.target_host
    ended = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "TEMPORAL_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    printed = ended.stdout.splitlines()
    assert "ConnectionError: the model does not answer" in printed[0]
    assert printed[1:3] == ["('analyze',)", "2 sources on checkpoints"]
    assert [line.split()[0] for line in printed[3:]] == ["3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("page", "block"), [(page, block) for page in PAGES for block in blocks(page, "python")], ids=str
)
def test_a_snippet_is_valid_python(page: str, block: str) -> None:
    """Every Python block compiles; it may await at the top level."""
    compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_commands_exist() -> None:
    """The pages show every `starter.py` command except the demonstration, which the README runs by `make demo`."""
    used = set(re.findall(r"^python starter\.py (\w+)", TEXT, re.MULTILINE))
    existing = {
        command.name or command.callback.__name__ for command in starter.app.registered_commands if command.callback
    }
    assert used == existing - {"demo"}


def test_the_settings_exist() -> None:
    """Every variable that a page names is a setting of stepgraph or of its tests."""
    named = set(re.findall(r"\bSTEPGRAPH_[A-Z_]*[A-Z]\b", TEXT))
    assert named - ENVIRONMENT.keys() <= {"STEPGRAPH_TEST_PATIENCE"}


@pytest.mark.parametrize("page", PAGES)
def test_the_linked_files_exist(page: str) -> None:
    """Every relative link names a file or a folder of the repository."""
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", PAGES[page]):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_make_targets_exist() -> None:
    """The pages and `.ci/run` use targets that the Makefile has."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = TEXT + (ROOT / ".ci" / "run").read_text()
    used = set(re.findall(r"(?:^|`)make ([\w-]+)", commands, re.MULTILINE))
    assert used <= targets
    assert {"demo", "test", "check", "docs"} <= used
