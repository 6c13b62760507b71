"""The wheel, built from this checkout and installed into an empty folder: its commands, and what they tell a reader.

The package's dependencies are those of the test's own environment, so nothing is downloaded.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stepgraph import __version__
from tests.commands.projects import Ended, Project, embeds
from tests.conftest import EMBEDS, ROOT

pytestmark = pytest.mark.xdist_group(EMBEDS)


@dataclass(frozen=True)
class Installation:
    """An installed wheel, and a folder to work in."""

    site: Path
    project: Project

    def run(self, *command: object, **env: str) -> Ended:
        """Run a command of the package to its end, or Python with ``-m``."""
        arguments = [self.site / "bin" / str(command[0]), *command[1:]] if command[0] != "-m" else command
        return self.project.start(*arguments, env={"PYTHONPATH": str(self.site), **env}).ended()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The wheel of this checkout, installed for a project that has no server yet."""
    built, site = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", built]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check", "--target", site]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *built.glob("*.whl")], check=True)
    project = Project(tmp_path_factory.mktemp("project"))
    yield Installation(site, project)
    project.end()


@pytest.mark.parametrize("command", [["stepgraph"], ["stepgraph-worker"], ["-m", "stepgraph"]], ids=" ".join)
def test_a_command_prints_its_version(installed: Installation, command: list[str]) -> None:
    """Both command lines have the option --version."""
    assert installed.run(*command, "--version") == Ended(0, f"stepgraph {__version__}\n", "")


def test_the_demonstration_runs_from_the_package(installed: Installation) -> None:
    """The package has the examples that `stepgraph demo` runs, and the code that runs is the package's."""
    if not embeds():
        pytest.skip("something listens on localhost:7233, or there is no server to embed")
    where = installed.project.start(
        "-c", "import stepgraph; print(stepgraph.__file__)", env={"PYTHONPATH": str(installed.site)}
    )
    assert Path(where.ended().out.strip()).is_relative_to(installed.site)
    ended = installed.run("stepgraph", "demo", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert ended.json["threads"]["research"]["runs"] == {"gather": 1, "analyze": 2, "report": 1}


def test_a_hint_names_the_commands_of_the_package(installed: Installation) -> None:
    """A hint names the command as its reader started it, and the worker by the name that the package gives it."""
    if not embeds():
        pytest.skip("something listens on localhost:7233, or there is no server to embed")
    for command, name in ((["stepgraph"], "stepgraph"), (["-m", "stepgraph"], "python -m stepgraph")):
        assert f"List those there are with: {name} threads\n" in installed.run(*command, "state", "nowhere").err
    detached = installed.run("stepgraph", "run", "steps:graph", "--input", "{}", "--detach")
    assert "Start one with stepgraph-worker --graphs steps:graph" in " ".join(detached.err.replace("│", " ").split())
    assert "A worker needs graphs: stepgraph-worker --graphs" in installed.run("stepgraph-worker").err
    script = "from steps import graph\ngraph.invoke({}, {'configurable': {'thread_id': 't'}})\n"
    path = installed.project.write("worker.py", script)  # a user's script may have the name of the checkout's
    invoked = installed.project.start(path, env={"STEPGRAPH_WORKERS": "external"}).ended()
    assert "Start one with stepgraph-worker --graphs MODULE:VARIABLE" in invoked.err
