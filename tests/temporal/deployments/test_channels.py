"""Deployments that change a graph's channels, against threads in every state."""

from __future__ import annotations

import pytest

from stepgraph import Overwrite
from tests.temporal.deployments.changes import Change, State, Stop, deployed, goes_on, resumed, written
from tests.temporal.deployments.deployment import Cell, Deployment, cells
from tests.temporal.deployments.versions import Code

TOTAL = "total: Annotated[int, operator.add]"
ONE_CHANNEL = Code(state=TOTAL, nodes={"first": "{'total': 1}", "second": "{'total': 10}"})
TWO_CHANNELS = Code(state=f"{TOTAL}\nsize: int", nodes={"first": "{'total': 1, 'size': 3}", "second": "{'total': 10}"})
NUMBER = Code(state="size: int", nodes={"first": "{'size': 1}", "second": "{'size': state['size'] + 10}"})
TEXT = Code(state="text: str", nodes={"first": "{'text': '3'}", "second": "{'text': state['text'] + '4'}"})
WORDS = Code(state="words: list[str]", nodes={"first": "{'words': ['a']}", "second": "{'words': ['b']}"})
SIBLINGS = Code(
    state=f"{TOTAL}\nsize: int",
    nodes={"first": "{'total': 1}", "second": "{'total': 10}", "sibling": "{'size': 3}"},
    edges=("START first second END", "first sibling END"),
)

SEVEN = {"words": Overwrite([7])}

CHANGES = [
    Change(
        "Change what a node does",
        before=ONE_CHANNEL,
        after=ONE_CHANNEL.but(nodes={"second": "{'total': 20}"}),
        running=goes_on(total=21),
        closed=goes_on(total=32),
    ),
    Change(
        "Add a channel with a reducer",
        before=ONE_CHANNEL,
        after=ONE_CHANNEL.but(
            state=f"{TOTAL}\nwords: Annotated[list[str], operator.add]",
            nodes={"second": "{'total': 20, 'words': ['new']}"},
        ),
        running=resumed(Stop.NEW_CHANNEL, "'words'", total=21, words=["new"]),
        failed=goes_on(total=21, words=["new"]),
        closed=goes_on(total=32, words=["new"]),
    ),
    Change(
        "Add a channel without a reducer",
        before=ONE_CHANNEL,
        after=ONE_CHANNEL.but(state=f"{TOTAL}\nsize: int", nodes={"second": "{'total': 20, 'size': 5}"}),
        running=resumed(Stop.NEW_CHANNEL, "'size'", total=21, size=5),
        quoted=State.RUNNING,
        failed=goes_on(total=21, size=5),
        closed=goes_on(total=32, size=5),
    ),
    Change(
        "Remove a channel",
        before=TWO_CHANNELS,
        after=TWO_CHANNELS.but(
            state=TOTAL, nodes={"first": "{'total': 1}", "second": "{'total': 20 if 'size' not in state else 0}"}
        ),
        running=goes_on(total=21, size=3),
        closed=goes_on(total=32, size=3),
    ),
    Change(
        "Remove a channel that a finished sibling wrote",
        before=SIBLINGS,
        after=SIBLINGS.but(state=TOTAL, nodes={"sibling": "{'total': 100}"}),
        mended=SIBLINGS,
        running=goes_on(total=11, size=3),
        quoted=State.FAILED,
        failed=deployed(Stop.OLD_CHANNEL, "'size'", total=11, size=3),
        closed=goes_on(total=122, size=3),
        fork_while_waiting=goes_on(total=111),
    ),
    Change(
        "Rename a channel",
        before=TWO_CHANNELS,
        after=TWO_CHANNELS.but(
            state=f"{TOTAL}\nlength: int", nodes={"first": "{'total': 1}", "second": "{'total': 20, 'length': 5}"}
        ),
        running=resumed(Stop.NEW_CHANNEL, "'length'", total=21, size=3, length=5),
        failed=goes_on(total=21, size=3, length=5),
        closed=goes_on(total=32, size=3, length=5),
    ),
    Change(
        "Widen a type: `int` to `float`",
        before=NUMBER,
        after=NUMBER.but(
            state="size: float",
            nodes={"first": "{'size': 1.0}", "second": "{'size': state['size'] / 2 + type(state['size'])(10)}"},
        ),
        running=goes_on(size=10.5),
        closed=goes_on(size=10.5),
    ),
    Change(
        "Widen a type under `operator.add`: `int` to `float`",
        before=ONE_CHANNEL,
        after=ONE_CHANNEL.but(
            state="total: Annotated[float, operator.add]", nodes={"first": "{'total': 1.0}", "second": "{'total': 1.5}"}
        ),
        running=goes_on(total=2.5),
        closed=goes_on(total=13.5),
    ),
    Change(
        "Widen a type: `str` to `str | None`",
        before=TEXT,
        after=TEXT.but(state="text: str | None", nodes={"second": "{'text': None}"}),
        running=goes_on(text=None),
        closed=goes_on(text=None),
    ),
    Change(
        "Change a type: `list[str]` to `list[int]`",
        before=WORDS,
        after=WORDS.but(
            state="words: list[int]", nodes={"first": "{'words': [1]}", "second": "{'words': [*state['words'], 2]}"}
        ),
        running=written(Stop.TYPE, "'words'", "list[str]", "list[int]", write={"words": [7]}, words=[7, 2]),
        closed=written(Stop.TYPE, "'words'", "list[str]", "list[int]", write={"words": [7]}, words=[1, 2]),
    ),
    Change(
        "Change a type: `str` to `int`",
        before=TEXT,
        after=TEXT.but(state="text: int", nodes={"first": "{'text': 1}", "second": "{'text': state['text'] + 1}"}),
        quoted=State.RUNNING,
        running=written(Stop.TYPE, "'text'", "'3' would come back as 3", write={"text": 7}, text=8),
        closed=written(Stop.TYPE, "'text'", "str", "int", write={"text": 7}, text=2),
    ),
    Change(
        "Change a type under `operator.add`: `list[str]` to `list[int]`",
        before=WORDS.but(state="words: Annotated[list[str], operator.add]"),
        after=WORDS.but(
            state="words: Annotated[list[int], operator.add]",
            nodes={"first": "{'words': [1]}", "second": "{'words': [2]}"},
        ),
        running=written(Stop.TYPE, "'words'", "list[str]", "list[int]", write=SEVEN, words=[7, 2]),
        closed=written(Stop.TYPE, "'words'", "list[str]", "list[int]", write=SEVEN, words=[7, 1, 2]),
    ),
]


@pytest.mark.parametrize("cell", cells(CHANGES))
def test_a_thread_goes_on_or_says_what_to_do(deployment: Deployment, cell: Cell) -> None:
    """The thread has the outcome of its cell, its past is unchanged, and everybody can read it."""
    deployment.check(cell)
