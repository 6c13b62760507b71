"""Deployments that change a channel's reducer, against threads in every state."""

from __future__ import annotations

import pytest

from tests.temporal.deployments.changes import NEW, OLD, Change, State, Stop, deployed, goes_on, resumed
from tests.temporal.deployments.deployment import Cell, Deployment, cells
from tests.temporal.deployments.versions import Code

LARGEST = """
def largest(value, write):
    return max(value, write)
"""
SMALLEST = """
def smallest(value, write):
    return min(value, write)
"""
JOINED = """
def joined(value, write):
    return value + write
"""

PLAIN = Code(state="total: int", nodes={"first": "{'total': 3}", "second": "{'total': 10}"})
ADDED = PLAIN.but(state="total: Annotated[int, operator.add]")
CUSTOM = PLAIN.but(state="total: Annotated[int, largest]", defs=LARGEST)
TEXT = Code(
    state="text: Annotated[str, joined]", defs=JOINED, nodes={"first": "{'text': 'a'}", "second": "{'text': 'b'}"}
)
TWENTY = {"second": "{'total': 20}"}
THIRTY = {"second": "{'total': 30}"}

CHANGES = [
    Change(
        "Add a built-in reducer",
        before=PLAIN,
        after=ADDED.but(nodes=TWENTY),
        running=goes_on(OLD, total=20),
        failed=goes_on(NEW, total=23),
        closed=goes_on(NEW, total=33),
    ),
    Change(
        "Add a custom reducer",
        before=PLAIN,
        after=CUSTOM.but(nodes={"second": "{'total': 2}"}),
        running=goes_on(OLD, total=2),
        failed=goes_on(NEW, total=3),
        closed=goes_on(NEW, total=10),
    ),
    Change(
        "Replace a built-in reducer by a custom one",
        before=ADDED,
        after=CUSTOM.but(nodes=TWENTY),
        running=goes_on(OLD, total=23),
        failed=goes_on(NEW, total=20),
        closed=goes_on(NEW, total=20),
    ),
    Change(
        "Replace a custom reducer by another",
        before=CUSTOM,
        after=CUSTOM.but(state="total: Annotated[int, smallest]", defs=SMALLEST, nodes=TWENTY),
        running=goes_on(NEW, total=3),
        closed=goes_on(NEW, total=3),
    ),
    Change(
        "Replace a custom reducer by another beside a finished sibling",
        before=CUSTOM.but(nodes={"sibling": "{'total': 7}"}, edges=("START first second END", "first sibling END")),
        after=CUSTOM.but(
            state="total: Annotated[int, smallest]",
            defs=SMALLEST,
            nodes={"sibling": "{'total': 7}", **TWENTY},
            edges=("START first second END", "first sibling END"),
        ),
        running=goes_on(NEW, total=3),
        closed=goes_on(NEW, total=3),
    ),
    Change(
        "Remove a built-in reducer",
        before=ADDED,
        after=PLAIN.but(nodes=TWENTY),
        running=goes_on(OLD, total=23),
        failed=goes_on(NEW, total=20),
        closed=goes_on(NEW, total=20),
    ),
    Change(
        "Remove a custom reducer",
        before=CUSTOM,
        after=PLAIN.but(nodes={"second": "{'total': 2}"}),
        quoted=State.RUNNING,
        running=resumed(Stop.REDUCER, "'total'", total=2),
        failed=goes_on(NEW, total=2),
        closed=goes_on(NEW, total=2),
    ),
    Change(
        "A custom reducer raises",
        before=CUSTOM,
        after=CUSTOM.but(defs="def largest(value, write):\n    raise ValueError('no order')\n", nodes=TWENTY),
        mended=CUSTOM.but(nodes=THIRTY),
        quoted=State.RUNNING,
        running=deployed(Stop.FAILING_REDUCER, "'total'", "'second'", "ValueError: no order", total=20),
        closed=deployed(Stop.FAILING_REDUCER, "'total'", "'first'", "ValueError: no order", total=30),
        fork=goes_on(total=30),
    ),
    Change(
        "A custom reducer returns another type",
        before=CUSTOM,
        after=CUSTOM.but(defs="def largest(value, write):\n    return [value, write]\n", nodes=TWENTY),
        mended=CUSTOM.but(nodes=THIRTY),
        quoted=State.RUNNING,
        running=deployed(Stop.WRONG_REDUCER, "'total'", "list", "int", total=20),
        closed=deployed(Stop.WRONG_REDUCER, "'total'", "list", "int", total=30),
        fork=goes_on(total=30),
    ),
    Change(
        "A custom reducer returns more than Temporal carries",
        before=TEXT,
        after=TEXT.but(
            defs="def joined(value, write):\n    return value + write * 2_000_000\n", nodes={"second": "{'text': 'c'}"}
        ),
        mended=TEXT.but(nodes={"second": "{'text': 'd'}"}),
        quoted=State.RUNNING,
        running=deployed(Stop.LARGE_REDUCER, "'text'", "2,000,0", "1,900,000", text="ac"),
        closed=deployed(Stop.LARGE_REDUCER, "'text'", "2,000,0", "1,900,000", text="abad"),
        fork=goes_on(text="ad"),
    ),
]


@pytest.mark.parametrize("cell", cells(CHANGES))
def test_a_thread_goes_on_or_says_what_to_do(deployment: Deployment, cell: Cell) -> None:
    """The thread has the outcome of its cell, its past is unchanged, and everybody can read it."""
    deployment.check(cell)
