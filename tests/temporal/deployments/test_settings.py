"""Deployments that change a graph's breakpoints and its durability, against threads in every state."""

from __future__ import annotations

import pytest

from tests.temporal.deployments.changes import NEW, OLD, Change, goes_on
from tests.temporal.deployments.deployment import Cell, Deployment, cells
from tests.temporal.deployments.versions import Code

THREE = Code(
    state="total: Annotated[int, operator.add]",
    nodes={"first": "{'total': 1}", "second": "{'total': 10}", "third": "{'total': 100}"},
    edges=("START first second third END",),
)
PAUSING = THREE.but(options="interrupt_before=['third']")
ASYNC = THREE.but(options="durability='async'")
TWENTY = {"second": "{'total': 20}"}

CHANGES = [
    Change(
        "Add a breakpoint",
        before=THREE,
        after=PAUSING.but(nodes=TWENTY),
        running=goes_on(OLD, total=121),
        failed=goes_on(NEW, pauses_at="third", total=121),
        closed=goes_on(NEW, pauses_at="third", total=232),
    ),
    Change(
        "Remove a breakpoint",
        before=PAUSING,
        before_pauses_at="third",
        after=THREE.but(nodes=TWENTY),
        running=goes_on(OLD, pauses_at="third", total=121),
        failed=goes_on(NEW, total=121),
        closed=goes_on(NEW, total=232),
    ),
    Change(
        "Change the durability from sync to async",
        before=THREE,
        after=ASYNC.but(nodes=TWENTY),
        running=goes_on(total=121),
        closed=goes_on(total=232),
    ),
    Change(
        "Change the durability from async to sync",
        before=ASYNC,
        after=THREE.but(nodes=TWENTY),
        running=goes_on(total=121),
        closed=goes_on(total=232),
    ),
]


@pytest.mark.parametrize("cell", cells(CHANGES))
def test_a_thread_goes_on_or_says_what_to_do(deployment: Deployment, cell: Cell) -> None:
    """The thread has the outcome of its cell, its past is unchanged, and everybody can read it."""
    deployment.check(cell)
