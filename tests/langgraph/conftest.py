"""Fixtures of the tests of adopted graphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.commands.projects import Project


@pytest.fixture
def project(server: WorkflowEnvironment, tmp_path: Path) -> Iterator[Project]:
    """A folder with processes that use the development server of the session."""
    project = Project(tmp_path, server.client.service_client.config.target_host)
    yield project
    project.end()
