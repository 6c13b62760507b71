"""Tests of settings from environment variables."""

from __future__ import annotations

import re

import pytest

from stepgraph.errors import StepgraphError
from stepgraph.temporal.settings import ENVIRONMENT, NUMBERS, run_settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the variables of the process that runs the tests."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def test_more_tasks_in_flight_than_a_run_can_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, its largest value and the value that was given."""
    monkeypatch.setenv("STEPGRAPH_TASKS_IN_FLIGHT", "1800")
    assert run_settings().tasks_in_flight == 1800
    monkeypatch.setenv("STEPGRAPH_TASKS_IN_FLIGHT", "5000")
    with pytest.raises(StepgraphError, match="STEPGRAPH_TASKS_IN_FLIGHT may be 1,800 at the most; got 5000"):
        run_settings()


RUN_SETTINGS = [name for name in NUMBERS if hasattr(run_settings(), name.removeprefix("STEPGRAPH_").lower())]


@pytest.mark.parametrize("name", RUN_SETTINGS)
def test_the_description_of_a_run_setting_has_its_default(name: str) -> None:
    """What a reader of the reference finds is what a run gets."""
    default = re.search(r"Default: ([\d.]*\d)", ENVIRONMENT[name])
    assert default is not None
    assert float(default[1]) == getattr(run_settings(), name.removeprefix("STEPGRAPH_").lower())
