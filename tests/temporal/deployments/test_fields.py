"""Deployments that change the fields of a dataclass, or of a pydantic model, that a channel holds."""

from __future__ import annotations

import pytest

from stepgraph import Overwrite
from tests.temporal.deployments.changes import Change, Outcome, Stop, goes_on, written
from tests.temporal.deployments.deployment import Cell, Deployment, cells
from tests.temporal.deployments.versions import Code

DATACLASS = "@dataclass\nclass Item:"
MODEL = "class Item(BaseModel):"
KINDS = {"a dataclass": DATACLASS, "a model": MODEL}
"""The heads of the class whose fields change."""


def holding(head: str, *fields: str, first: str, second: str) -> Code:
    """Return code with a channel that holds an object. Both nodes write it; ``item`` is the value before."""
    return Code(
        state="item: Item",
        defs="\n    ".join([head, *fields]) + "\n",
        nodes={
            "first": f"{{'item': Item({first})}}",
            "second": f"{{'item': (lambda item: Item({second}))(state['item'])}}",
        },
    )


def unfit(*words: str, write: dict[str, object], item: dict[str, object]) -> Outcome:
    """Return the outcome of a thread that stops because the recorded object does not fit."""
    return written(Stop.TYPE, "'item'", *words, write={"item": write}, item=item)


def changes_of(kind: str, head: str) -> list[Change]:
    """Return the changes of the fields of one kind of class."""
    named = holding(head, "name: str", first="name='a'", second="name=item.name + '!'")
    sized = holding(
        head, "name: str", "size: int = 3", first="name='a'", second="name=item.name + '!', size=item.size + 1"
    )
    return [
        Change(
            f"Add a field with a default to {kind}",
            before=named,
            after=sized,
            running=goes_on(item={"name": "a!", "size": 4}),
            closed=goes_on(item={"name": "a!", "size": 4}),
        ),
        Change(
            f"Add a field without a default to {kind}",
            before=named,
            after=holding(
                head,
                "name: str",
                "size: int",
                first="name='a', size=3",
                second="name=item.name + '!', size=item.size + 1",
            ),
            running=unfit("size", write={"name": "z", "size": 7}, item={"name": "z!", "size": 8}),
            closed=unfit("size", write={"name": "z", "size": 7}, item={"name": "a!", "size": 4}),
        ),
        Change(
            f"Remove a field from {kind}",
            before=sized,
            after=named,
            running=unfit("'size' does not come back", write={"name": "z"}, item={"name": "z!"}),
            closed=unfit("'size' does not come back", write={"name": "z"}, item={"name": "a!"}),
        ),
        Change(
            f"Rename a field of {kind}",
            before=sized,
            after=holding(
                head,
                "name: str",
                "length: int = 0",
                first="name='a'",
                second="name=item.name + '!', length=item.length + 1",
            ),
            running=unfit("'size' does not come back", write={"name": "z"}, item={"name": "z!", "length": 1}),
            closed=unfit("'size' does not come back", write={"name": "z"}, item={"name": "a!", "length": 1}),
        ),
        Change(
            f"Make a field of {kind} required",
            before=sized,
            after=holding(
                head,
                "name: str",
                "size: int",
                first="name='a', size=5",
                second="name=item.name + '!', size=item.size + 1",
            ),
            running=goes_on(item={"name": "a!", "size": 4}),
            closed=goes_on(item={"name": "a!", "size": 6}),
        ),
    ]


EMPTIED = {"items": Overwrite([])}
B = {"name": "b", "length": 0}
LISTED = Code(
    state="items: Annotated[list[Item], operator.add]",
    defs=f"{DATACLASS}\n    name: str\n    size: int = 3\n",
    nodes={"first": "{'items': [Item('a', size=5)]}", "second": "{'items': [Item('b')]}"},
)

CHANGES = [change for kind, head in KINDS.items() for change in changes_of(kind, head)] + [
    Change(
        "Rename a field of a model, with the old name as its alias",
        before=holding(MODEL, "name: str", "size: int = 3", first="name='a'", second="name=item.name + '!'"),
        after=holding(
            MODEL,
            "name: str",
            "length: int = Field(default=0, alias='size')",
            first="name='a'",
            second="name=item.name + '!', size=item.length + 1",
        ),
        running=goes_on(item={"name": "a!", "size": 4}),
        closed=goes_on(item={"name": "a!", "size": 1}),
    ),
    Change(
        "Rename a field of the objects in a list under `operator.add`",
        before=LISTED,
        after=LISTED.but(
            defs=f"{DATACLASS}\n    name: str\n    length: int = 0\n",
            nodes={"first": "{'items': []}", "second": "{'items': [Item('b')]}"},
        ),
        again={"items": [{"name": "new"}]},
        running=written(Stop.TYPE, "'items'", "'size' does not come back", write=EMPTIED, items=[B]),
        closed=written(Stop.TYPE, "'items'", "'size' does not come back", write=EMPTIED, items=[B]),
    ),
]


@pytest.mark.parametrize("cell", cells(CHANGES))
def test_a_thread_goes_on_or_says_what_to_do(deployment: Deployment, cell: Cell) -> None:
    """The thread has the outcome of its cell, its past is unchanged, and everybody can read it."""
    deployment.check(cell)
