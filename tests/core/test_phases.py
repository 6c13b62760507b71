"""The phases of a run: the table in the module's docstring is what the code does."""

from __future__ import annotations

import re

import pytest

from stepgraph_workflows import phases
from stepgraph_workflows.phases import Phase

TABLE = {
    phase: (runs == "yes", idle == "yes", updates == "accepted")
    for phase, runs, idle, updates in re.findall(
        r"^([A-Z]+) +(yes|no) +(yes|no) +(accepted|retry)", phases.__doc__ or "", re.MULTILINE
    )
}


def test_the_table_has_every_phase() -> None:
    """A phase that is added needs a row."""
    assert set(TABLE) == {phase.name for phase in Phase}


@pytest.mark.parametrize("phase", Phase)
def test_a_phase_accepts_what_the_table_says(phase: Phase) -> None:
    """The columns are whether due tasks run, whether the thread is idle, and whether updates are accepted."""
    assert ((phase is Phase.RUNNING), phase.is_idle, phase.accepts_updates) == TABLE[phase.name]


@pytest.mark.parametrize("phase", Phase)
def test_a_command_starts_an_idle_thread_and_stops_no_stopping_one(phase: Phase) -> None:
    """After a fork, a resume or an invoke the thread runs, unless the run is being stopped or is about to end."""
    starts = phase in (Phase.RUNNING, Phase.HOLDING, Phase.FINISHED)
    assert phase.after_command(runs=True) is (Phase.RUNNING if starts else phase)


def test_a_run_that_is_being_opened_refuses_updates_until_it_is_open() -> None:
    """An input that cancels the nodes, queued meanwhile, does not let an update in beside a local activity."""
    aborting = Phase.OPENING.after_cancel_input()
    assert not aborting.accepts_updates
    assert aborting.after_cancel_input() is aborting
    assert aborting.after_opening(runs=True) is aborting.after_opening(runs=False) is Phase.STOPPING


@pytest.mark.parametrize("phase", Phase)
def test_an_update_leaves_a_holding_run_holding(phase: Phase) -> None:
    """After an update no node runs, except in a run that goes on by itself and had just finished."""
    assert phase.after_command(runs=False) is (Phase.RUNNING if phase is Phase.FINISHED else phase)
