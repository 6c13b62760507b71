"""What was written before a deployment, and is committed or read after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepgraph import Command, Overwrite
from stepgraph.errors import ChannelTypeError, InvalidInputError, NodeError
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.deployments.gate import ENTERED
from tests.temporal.deployments.user import User
from tests.temporal.deployments.versions import Code

pytestmark = pytest.mark.usefixtures("no_other_worker")

ITEM = "@dataclass\nclass Item:\n    name: str\n"
OLD, NEW = f"{ITEM}    size: int = 3\n", f"{ITEM}    length: int = 0\n"
"""An object, and the same with a renamed field: what the old one wrote must never read as the new default."""

SIBLINGS = Code(
    state="item: Item\nseen: str",
    defs=OLD,
    nodes={"first": "{}", "second": "{}", "sibling": "{'item': Item('a', 5)}", "last": "{'seen': repr(state['item'])}"},
    edges=("START first second last END", "first sibling last"),
)
TOTAL = Code(state="total: int", nodes={"first": "{'total': 1}", "second": "{}"})
ADDED = TOTAL.but(state="total: Annotated[int, operator.add]")


def folded(defs: str) -> Code:
    """Return the siblings' code with a custom reducer over a list of objects."""
    return SIBLINGS.but(
        state="item: Annotated[list[Item], joined]\nseen: str",
        defs=f"{defs}def joined(value, write):\n    return value + write\n",
        nodes={"sibling": "{'item': [Item('a')]}"},
    )


@pytest.mark.parametrize(
    ("name", "before", "after", "mend", "seen"),
    [
        ("last_value", SIBLINGS, SIBLINGS.but(defs=NEW), {"name": "z"}, "Item(name='z', length=0)"),
        ("custom_fold", folded(OLD), folded(NEW), Overwrite([{"name": "z"}]), "[Item(name='z', length=0)]"),
    ],
)
async def test_a_write_of_a_finished_sibling_does_not_read_as_a_default(
    stage: Stage, tmp_path: Path, name: str, before: Code, after: Code, mend: Any, seen: str
) -> None:
    """The sibling of a failed node wrote an object of the old type. The next node stops, until a value is written."""
    user = User(stage, tmp_path, f"sibling_{name}", before, after)
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"note": "begin"}, user.until("failed"))
    async with stage.serving(user.graphs[1]):
        with pytest.raises(ChannelTypeError, match="'size' does not come back"):
            await user.clients[1].ainvoke(None, user.until("closed"))
        await user.clients[1].aupdate_state(user.until("closed"), {"item": mend}, as_node="human")
        assert (await user.clients[1].ainvoke(None, user.until("closed")))["seen"] == seen


async def test_an_input_that_was_not_written_yet_does_not_read_as_a_default(stage: Stage, tmp_path: Path) -> None:
    """The router at START failed, so the input is written by the run that resumes the thread. The first node stops."""
    before = SIBLINGS.but(
        defs=f"{OLD}def route(state) -> Literal['last']:\n    raise OSError('away')\n",
        nodes={"first": None, "second": None, "sibling": None},
        edges=("last END",),
        routers={"START": "route"},
    )
    after = before.but(defs=f"{NEW}def route(state) -> Literal['last']:\n    return 'last'\n")
    user = User(stage, tmp_path, "unwritten_input", before, after)
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"item": {"name": "a", "size": 5}}, user.until("closed"))
    async with stage.serving(user.graphs[1]):
        with pytest.raises(ChannelTypeError, match="'size' does not come back"):
            await user.clients[1].ainvoke(None, user.until("closed"))


async def test_a_reader_sees_earlier_writes_as_json_data_if_they_do_not_fit(stage: Stage, tmp_path: Path) -> None:
    """The writes in a checkpoint's metadata, and the results of its tasks, are as they were recorded."""
    user = User(stage, tmp_path, "shown_writes", SIBLINGS, SIBLINGS.but(defs=NEW))
    async with stage.serving(user.graphs[0]):
        await user.clients[0].ainvoke({"note": "begin"}, user.until("closed"))
    head, made, due, *_ = [each async for each in user.clients[1].aget_state_history(user.until("closed"))]
    assert made.metadata is not None
    assert made.metadata["writes"]["sibling"] == {"item": {"name": "a", "size": 5}}
    assert {task.name: task.result for task in due.tasks}["sibling"] == {"item": {"name": "a", "size": 5}}
    assert head.values["item"] == {"name": "a", "size": 5}


@pytest.mark.parametrize(
    ("name", "before", "after"), [("added", TOTAL, ADDED), ("removed", ADDED, TOTAL)], ids=["added", "removed"]
)
async def test_an_overwrite_replaces_the_value_by_the_rules_of_an_open_run(
    stage: Stage, tmp_path: Path, name: str, before: Code, after: Code
) -> None:
    """The run and the code disagree whether the channel has a reducer. The overwrite is the value in both cases."""
    user = User(stage, tmp_path, f"overwrite_{name}", before, after)
    async with stage.serving(user.graphs[0]):
        await user.clients[0].ainvoke({"note": "begin"}, user.until("waiting"))
    async with stage.serving(user.graphs[1]):
        await user.clients[1].aupdate_state(user.until("waiting"), {"total": Overwrite(100)}, as_node="human")
        assert (await user.reader.aget_state(user.until("waiting"))).values["total"] == 100
        assert (await user.clients[1].ainvoke(Command(resume="yes"), user.until("waiting")))["total"] == 100


async def test_a_caller_with_the_old_types_gets_a_result(stage: Stage, tmp_path: Path) -> None:
    """What the caller's code cannot decode is JSON data, as in `get_state`; the thread has done its work."""
    user = User(
        stage, tmp_path, "old_caller", SIBLINGS, SIBLINGS.but(defs=NEW, nodes={"sibling": "{'item': Item('b')}"})
    )
    async with stage.serving(user.graphs[1]):
        result = await user.clients[0].ainvoke({"note": "begin"}, user.until("closed"))
    assert result["item"] == {"name": "b", "length": 0}


SECOND_READS = SIBLINGS.but(
    nodes={"second": "{'seen': repr(state['item'])}", "sibling": None, "last": None}, edges=("START first second END",)
)


async def test_what_old_types_encoded_is_refused_if_it_does_not_come_back(stage: Stage, tmp_path: Path) -> None:
    """A client with the old types sends an input, and an update, whose renamed field the new type does not have."""
    user = User(stage, tmp_path, "old_input", SECOND_READS, SECOND_READS.but(defs=NEW))
    item = {"item": {"name": "a", "size": 5}}
    async with stage.serving(user.graphs[1]):
        with pytest.raises(InvalidInputError, match="'size'"):
            await user.clients[0].ainvoke(item, user.until("closed"))
        await user.clients[1].ainvoke({"item": {"name": "b"}}, user.until("closed"))
        with pytest.raises(InvalidInputError, match="'size'"):
            await user.clients[0].aupdate_state(user.until("closed"), item, as_node="human")


async def test_a_queued_input_of_the_old_types_is_refused_if_it_does_not_come_back(
    stage: Stage, tmp_path: Path
) -> None:
    """The input was queued before the deployment, and begins after it."""
    user = User(stage, tmp_path, "old_queue", SECOND_READS, SECOND_READS.but(defs=NEW))
    async with stage.serving(user.graphs[0]):
        await user.clients[0].astart({"item": {"name": "a"}}, user.until("running"))
        await eventually(lambda: user.thread_id in ENTERED)
        item = {"item": {"name": "b", "size": 5}}
        queued = await user.clients[0].astart(item, user.until("closed"), on_busy="enqueue")
    async with stage.serving(user.graphs[1]):
        with pytest.raises(InvalidInputError, match="'size'"):
            await queued.result()
