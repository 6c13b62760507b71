"""Fixtures of the tests of commands."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.commands.projects import Project, embeds


@pytest.fixture(scope="session", autouse=True)
def _sigint_is_not_ignored() -> None:
    """Let the processes of projects react to Ctrl-C. They would inherit that a shell's background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def project(server: WorkflowEnvironment, tmp_path: Path) -> Iterator[Project]:
    """A project whose processes use the development server of the session."""
    project = Project(tmp_path, server.client.service_client.config.target_host)
    yield project
    project.end()


@pytest.fixture
def embedding(tmp_path: Path) -> Iterator[Project]:
    """A project whose processes embed a server."""
    if not embeds():
        pytest.skip("something listens on localhost:7233, or there is no server to embed")
    project = Project(tmp_path)
    yield project
    project.end()


@pytest.fixture(scope="module")
def served(server: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a worker, shared by the tests of a module; each test uses its own threads."""
    project = Project(tmp_path_factory.mktemp("served"), server.client.service_client.config.target_host)
    project.worker()
    yield project
    project.end()
