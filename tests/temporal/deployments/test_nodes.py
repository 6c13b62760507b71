"""Deployments that change a graph's nodes, edges and routers, against threads in every state."""

from __future__ import annotations

import pytest

from tests.temporal.deployments.changes import NEW, OLD, Change, State, Stop, deployed, goes_on, planned_anew, resumed
from tests.temporal.deployments.deployment import Cell, Deployment, cells
from tests.temporal.deployments.versions import Code

TWO = Code(state="total: Annotated[int, operator.add]", nodes={"first": "{'total': 1}", "second": "{'total': 10}"})
THREE = TWO.but(nodes={"third": "{'total': 100}"}, edges=("START first second third END",))
ROUTED = TWO.but(
    defs="def route(state) -> Literal['third', '__end__']:\n    return 'third'\n",
    nodes={"third": "{'total': 100}"},
    edges=("START first second", "third END"),
    routers={"second": "route"},
)
JOINED = TWO.but(
    nodes={"side": "{'total': 2}", "third": "{'total': 100}"},
    edges=("START first", "START side second", "third END"),
    joins=("first second third",),
)
TWENTY = {"second": "{'total': 20}"}

CHANGES = [
    Change(
        "Add a node",
        before=TWO,
        after=THREE.but(nodes=TWENTY),
        running=goes_on(OLD, total=21),
        failed=goes_on(NEW, total=121),
        closed=goes_on(NEW, total=132),
    ),
    Change(
        "Remove a finished node",
        before=TWO,
        after=TWO.but(nodes={"first": None, **TWENTY}, edges=("START second END",)),
        running=goes_on(total=21),
        closed=goes_on(NEW, total=31),
    ),
    Change(
        "Remove a node that is due",
        before=TWO,
        after=TWO.but(nodes={"second": None}, edges=("START first END",)),
        mended=TWO.but(nodes=TWENTY),
        quoted=State.RUNNING,
        running=deployed(Stop.NODE, "'second'", total=21),
        closed=goes_on(NEW, total=12),
    ),
    Change(
        "Rename a finished node",
        before=TWO,
        after=TWO.but(nodes={"first": None, "begin": "{'total': 1}", **TWENTY}, edges=("START begin second END",)),
        running=goes_on(total=21),
        closed=goes_on(NEW, total=32),
    ),
    Change(
        "Rename a node that is due",
        before=TWO,
        after=TWO.but(nodes={"second": None, "other": "{'total': 20}"}, edges=("START first other END",)),
        running=planned_anew(Stop.NODE, "'second'", after="first", total=21),
        closed=goes_on(NEW, total=32),
    ),
    Change(
        "Change the edges",
        before=TWO,
        after=TWO.but(nodes=TWENTY, edges=("START second first END",)),
        running=goes_on(OLD, total=21),
        failed=goes_on(NEW, total=22),
        closed=goes_on(NEW, total=32),
    ),
    Change(
        "Change where a join leads",
        before=JOINED,
        after=JOINED.but(
            nodes={"fourth": "{'total': 1000}", **TWENTY},
            edges=("START first", "START side second", "fourth third END"),
            joins=("first second fourth",),
        ),
        running=goes_on(OLD, total=123),
        failed=goes_on(NEW, total=1123),
        closed=goes_on(NEW, total=113 + 1123),
    ),
    Change(
        "Rename a router",
        before=ROUTED,
        after=ROUTED.but(
            defs="def choose(state) -> Literal['third', '__end__']:\n    return 'third'\n",
            nodes=TWENTY,
            routers={"second": "choose"},
        ),
        quoted=State.RUNNING,
        running=resumed(Stop.ROUTER, "router 'route' of node 'second'", total=121),
        failed=goes_on(total=121),
        closed=goes_on(total=232),
    ),
    Change(
        "A router leads elsewhere",
        before=ROUTED,
        after=ROUTED.but(defs="def route(state) -> Literal['third', '__end__']:\n    return END\n", nodes=TWENTY),
        running=goes_on(NEW, total=21),
        closed=goes_on(NEW, total=132),
    ),
    Change(
        "A router leads to a new node",
        before=ROUTED,
        after=ROUTED.but(
            defs="def route(state) -> Literal['third', 'fourth']:\n    return 'fourth'\n",
            nodes={"fourth": "{'total': 1000}", **TWENTY},
            edges=("START first second", "third END", "fourth END"),
        ),
        quoted=State.RUNNING,
        running=resumed(Stop.NEW_NODE, "'fourth'", total=1021),
        failed=goes_on(NEW, total=1021),
        closed=goes_on(NEW, total=1132),
    ),
    Change(
        "Replace a router by an edge",
        before=ROUTED,
        after=THREE.but(nodes=TWENTY),
        running=resumed(Stop.ROUTER, "router 'route' of node 'second'", total=121),
        failed=goes_on(total=121),
        closed=goes_on(total=232),
    ),
    Change(
        "Replace an edge by a router",
        before=THREE,
        after=ROUTED.but(defs="def route(state) -> Literal['third', '__end__']:\n    return END\n", nodes=TWENTY),
        running=goes_on(OLD, total=121),
        failed=goes_on(NEW, total=21),
        closed=goes_on(NEW, total=132),
    ),
]


@pytest.mark.parametrize("cell", cells(CHANGES))
def test_a_thread_goes_on_or_says_what_to_do(deployment: Deployment, cell: Cell) -> None:
    """The thread has the outcome of its cell, its past is unchanged, and everybody can read it."""
    deployment.check(cell)
