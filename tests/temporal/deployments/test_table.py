"""The page says what the tests show: each cell of its tables is one of their cases, and each case is on the page."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import pytest

from tests.temporal.deployments.changes import Change, Rules, State, Stop
from tests.temporal.deployments.page import table

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
CHANGES: list[Change] = [
    change for name in MODULES for change in getattr(importlib.import_module(f"{__package__}.{name}"), "CHANGES", [])
]


def test_the_page_has_every_change_and_no_other() -> None:
    """The tables have a line for each change that is tested, under its title, and no other lines."""
    assert sorted(table()) == sorted(change.title for change in CHANGES)
    assert len({change.name for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_line_has_the_outcomes_that_are_tested(change: Change) -> None:
    """Each cell of a line has the words of the outcome that a thread in that state has."""
    assert table()[change.title] == {state: change.outcome(state).text for state in State}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_an_outcome_names_the_rules_where_they_show(change: Change) -> None:
    """If a running and a failed thread go on to other values, one goes by the old rules, and the other by the new."""
    running, failed = change.outcome(State.RUNNING), change.outcome(State.FAILED)
    if running.stop is None and failed.stop is None and running != failed:
        assert (running.rules, failed.rules) == (Rules.OLD, Rules.NEW)


def test_the_page_quotes_an_error_of_every_kind_of_stop() -> None:
    """One change is the example of each kind of stop; its test compares the error with the page."""
    examples = Counter(change.outcome(change.quoted).stop for change in CHANGES if change.quoted is not None)
    assert examples == Counter(Stop)
