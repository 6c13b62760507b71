"""What the page says beside its table: runs that continue, several deployments, clients with the old types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stepgraph import Command
from stepgraph.errors import ChannelTypeError, InvalidInputError, InvalidUpdateError, NodeError
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.deployments.gate import ENTERED
from tests.temporal.deployments.user import User
from tests.temporal.deployments.versions import Code

TOTAL = Code(state="total: Annotated[int, operator.add]", nodes={"first": "{'total': 1}", "second": "{'total': 10}"})
ITEM = "@dataclass\nclass Item:\n    name: str\n"
ITEMS = Code(state="item: Item", defs=ITEM, nodes={"first": "{'item': Item('a')}", "second": "{'total': 1}"})
"""Code of a graph whose channel holds an object."""


async def test_a_run_that_continues_as_new_goes_on_under_the_code_at_hand(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that continues another one reads the spec anew: the node that was added runs."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "4")
    three = TOTAL.but(nodes={"third": "{'total': 100}"}, edges=("START first second third END",))
    four = three.but(nodes={"fourth": "{'total': 1000}"}, edges=("START first second third fourth END",))
    user = User(stage, tmp_path, "continued", three, four)
    async with stage.serving(user.graphs[0]):
        await user.clients[0].ainvoke({"note": "begin"}, user.until("waiting"))
    async with stage.serving(user.graphs[1]):
        ended = await user.clients[1].ainvoke(Command(resume="yes"), user.until("waiting"))
    assert (ended["total"], len(await stage.runs(user.thread_id))) == (1111, 2)


@pytest.mark.usefixtures("no_other_worker")
async def test_a_field_becomes_required_that_was_added_with_a_default_after_the_value(
    stage: Stage, tmp_path: Path
) -> None:
    """The second version's nodes read the default. The record still lacks the field, so the third version stops."""
    before = ITEMS.but(nodes={"second": "{}"})
    user = User(
        stage,
        tmp_path,
        "thrice",
        before,
        before.but(defs=f"{ITEM}    size: int = 3\n"),
        before.but(defs=f"{ITEM}    size: int\n"),
    )
    async with stage.serving(user.graphs[0]):
        await user.clients[0].ainvoke({"note": "begin"}, user.until("waiting"))
    async with stage.serving(user.graphs[1]):
        ended = await user.clients[1].ainvoke(Command(resume="yes"), user.until("waiting"))
        assert ended["item"].size == 3
    async with stage.serving(user.graphs[2]):
        with pytest.raises(ChannelTypeError, match="size: Field required"):
            await user.clients[2].ainvoke({"note": "again"}, user.until("closed"))


@pytest.mark.usefixtures("no_other_worker")
async def test_code_whose_type_takes_the_recorded_value_is_a_mend(stage: Stage, tmp_path: Path) -> None:
    """The text does not become a number; a type that takes both lets the thread go on without a write."""
    text = Code(state="text: str", nodes={"first": "{'text': '3'}", "second": "{'note': repr(state['text'])}"})
    user = User(stage, tmp_path, "both_types", text, text.but(state="text: int"), text.but(state="text: int | str"))
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"note": "begin"}, user.until("failed"))
    async with stage.serving(user.graphs[1]):
        with pytest.raises(ChannelTypeError, match="'3' would come back as 3"):
            await user.clients[1].ainvoke(None, user.until("closed"))
    async with stage.serving(user.graphs[2]):
        assert await user.clients[2].ainvoke(None, user.until("closed")) == {"note": "'3'", "text": "3"}


async def test_a_client_with_the_old_types_is_served_or_refused(stage: Stage, tmp_path: Path) -> None:
    """The code at hand coerces what such a client sends, and refuses what does not fit, or a channel that it lacks."""
    old = Code(state="size: int\nwords: list[str]", nodes={"first": "{}", "second": "{}"})
    user = User(stage, tmp_path, "old_client", old, old.but(state="words: list[int]"))
    async with stage.serving(user.graphs[1]):
        assert await user.clients[0].ainvoke({"note": "a", "words": []}, user.until("closed")) == {
            "note": "a",
            "words": [],
        }
        with pytest.raises(InvalidInputError, match=r"'words' is declared list\[int\]"):
            await user.clients[0].ainvoke({"words": ["a"]}, user.until("closed"))
        with pytest.raises(InvalidInputError, match="'size'"):
            await user.clients[0].ainvoke({"size": 1}, user.until("closed"))
        assert await user.clients[0].ainvoke({"note": "b"}, user.until("closed")) == {"note": "b", "words": []}


async def test_a_queued_input_begins_a_run_under_the_code_at_hand(stage: Stage, tmp_path: Path) -> None:
    """The running input goes on by the old edges; the queued one by the new."""
    three = TOTAL.but(nodes={"third": "{'total': 100}"}, edges=("START first second third END",))
    user = User(stage, tmp_path, "queued", TOTAL, three)
    async with stage.serving(user.graphs[0]):
        running = await user.clients[0].astart({"note": "begin"}, user.until("running"))
        await eventually(lambda: user.thread_id in ENTERED)
        queued = await user.clients[0].astart({"note": "again"}, user.until("closed"), on_busy="enqueue")
    async with stage.serving(user.graphs[1]):
        assert (await running.result())["total"] == 11
        assert (await queued.result())["total"] == 122


async def test_a_super_step_can_run_again_instead_of_getting_a_channel_back(stage: Stage, tmp_path: Path) -> None:
    """A finished sibling wrote to a channel that was removed: a replay of the head runs it again, with the new code."""
    siblings = TOTAL.but(
        state="total: Annotated[int, operator.add]\nsize: int",
        nodes={"sibling": "{'size': 3}"},
        edges=("START first second END", "first sibling END"),
    )
    without = siblings.but(state=TOTAL.state, nodes={"sibling": "{'total': 100}"})
    user = User(stage, tmp_path, "again", siblings, without)
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"note": "begin"}, user.until("failed"))
    async with stage.serving(user.graphs[1]):
        with pytest.raises(InvalidUpdateError, match="'size'"):
            await user.clients[1].ainvoke(None, user.until("closed"))
        head = (await user.clients[1].aget_state(user.until("closed"))).config["configurable"]
        config = {"configurable": {**user.until("closed")["configurable"], **head}}
        assert await user.clients[1].ainvoke(None, config) == {"note": "begin", "total": 111}


async def test_an_update_needs_an_author_where_the_last_writer_was_renamed(stage: Stage, tmp_path: Path) -> None:
    """Without an author, nobody could say which nodes are due after the update. With one, the due node stays due."""
    renamed = TOTAL.but(nodes={"first": None, "begin": "{'total': 1}"}, edges=("START begin second END",))
    user = User(stage, tmp_path, "renamed_writer", TOTAL, renamed)
    client = user.clients[1]
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"note": "begin"}, user.until("failed"))
    async with stage.serving(user.graphs[1]):
        with pytest.raises(InvalidUpdateError, match="'first'.*as_node"):
            await client.aupdate_state(user.until("closed"), {"total": 100})
        await client.aupdate_state(user.until("closed"), {"total": 100}, as_node="human")
        assert (await client.ainvoke(None, user.until("closed")))["total"] == 111


async def test_a_join_is_completed_by_an_update_in_the_name_of_a_renamed_source(stage: Stage, tmp_path: Path) -> None:
    """A source had finished under its old name. The join waits for the new one until an update is signed by it."""
    joined = TOTAL.but(
        nodes={"side": "{}", "third": "{'total': 100}"},
        edges=("START first", "START side second", "third END"),
        joins=("first second third",),
    )
    renamed = joined.but(
        nodes={"first": None, "begin": "{'total': 1}"},
        edges=("START begin", "START side second", "third END"),
        joins=("begin second third",),
    )
    user = User(stage, tmp_path, "renamed_source", joined, renamed)
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"note": "begin"}, user.until("failed"))
    async with stage.serving(user.graphs[1]):
        assert (await user.clients[1].ainvoke(None, user.until("closed")))["total"] == 11
        await user.clients[1].aupdate_state(user.until("closed"), None, as_node="begin")
        assert (await user.clients[1].ainvoke(None, user.until("closed")))["total"] == 111


async def test_a_channel_that_was_added_begins_with_its_empty_value(stage: Stage, tmp_path: Path) -> None:
    """A node of the new code finds the empty list in a thread from before, as it does in a new thread."""
    words = TOTAL.but(
        state="total: Annotated[int, operator.add]\nwords: Annotated[list[str], operator.add]",
        nodes={"second": "{'words': [f\"{len(state['words'])} words\"]}"},
    )
    user = User(stage, tmp_path, "empty_words", TOTAL, words)
    async with stage.serving(user.graphs[0]):
        with pytest.raises(NodeError):
            await user.clients[0].ainvoke({"note": "begin"}, user.until("failed"))
    async with stage.serving(user.graphs[1]):
        ended = await user.clients[1].ainvoke(None, user.until("closed"))
    assert ended == {"note": "begin", "total": 1, "words": ["0 words"]}


async def test_an_old_and_a_new_worker_share_a_thread(stage: Stage, tmp_path: Path) -> None:
    """Under a rolling deployment, a task that the old code cannot do is done by the new code."""
    before = ITEMS.but(
        nodes={"second": "{'item': Item('b')}", "third": "{'item': Item(state['item'].name + 'c')}"},
        edges=("START first second third END",),
    )
    user = User(stage, tmp_path, "rolling", before, before.but(defs=f"{ITEM}    size: int = 3\n"))
    async with stage.serving(user.graphs[0]):
        await user.clients[0].ainvoke({"note": "begin"}, user.until("waiting"))
    async with stage.serving(user.graphs[1]):
        await user.clients[1].ainvoke(Command(resume="yes"), user.until("waiting"), interrupt_before="third")
    async with stage.serving(user.graphs[0]):
        run = await user.clients[0].astart(None, user.until("closed"))

        async def was_tried() -> bool:
            handle = stage.client.get_workflow_handle(user.thread_id)
            pending = (await handle.describe()).raw_description.pending_activities
            return any(each.HasField("last_failure") for each in pending)

        condition: Callable[[], bool | Awaitable[bool]] = was_tried
        await eventually(condition)
    async with stage.serving(user.graphs[1]):
        await run.record()
        assert (await user.clients[1].aget_state(user.until("closed"))).values["item"].name == "bc"
