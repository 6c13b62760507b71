"""Tests of a channel that is folded in every super-step: its value lives for one, as a custom fold may decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import StateGraph
from stepgraph.engine.changes import NOTHING
from stepgraph.errors import NodeError
from stepgraph.execution.channels import Channels, make_channel
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, build
from tests.core.test_custom_folds import with_fold


class OneStep:
    """The fold of a value that lasts until the next super-step: all that was written in the last one."""

    every_step = True

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        batch = [text for write in writes for text in write]
        self.batches.append(batch)
        return batch or NOTHING


class State(TypedDict, total=False):
    words: Annotated[list[str], lambda left, right: left + right]
    log: Annotated[list[str], add]
    note: str


class Harness:
    """A `MemoryRunner` whose nodes write the given texts to `words`, and fail while their name is in `failing`.

    The channel has no empty value, unless one is given.
    """

    def __init__(self, edges: str, words: dict[str, list[str] | None], *, empty: Any = NOTHING) -> None:
        self.fold = OneStep()
        self.failing: set[str] = set()
        self.runs: Counter[str] = Counter()
        self.seen: dict[str, list[str] | None] = {}
        nodes = {name: self._node(name, texts) for name, texts in words.items()}
        self.builder = with_fold(build(State, edges, nodes), self.fold, empty=empty)

    def _node(self, name: str, texts: list[str] | None) -> Callable[[State], dict[str, Any]]:
        def run(state: State) -> dict[str, Any]:
            self.runs[name] += 1
            self.seen[name] = state.get("words")
            if name in self.failing:
                raise ConnectionError(f"{name} is down")
            return {"log": [name]} if texts is None else {"log": [name], "words": texts}

        return run

    def runner(self) -> MemoryRunner:
        return MemoryRunner(self.builder.compile(name="g"))

    def new_batches(self) -> list[list[str]]:
        """Return what was folded since the last call."""
        batches, self.fold.batches = self.fold.batches, []
        return batches


def words_in_history(runner: MemoryRunner) -> list[Any]:
    """Return the channel's value at each checkpoint, oldest first; `None` where it has none."""
    return [snapshot.values.get("words") for snapshot in runner.get_state_history(THREAD)][::-1]


CHAIN = "START > a, a > b, b > c, c > END"
PARALLEL = "START > a, START > b, START > c, a+b+c > d, d > END"


def test_the_spec_says_that_a_channel_is_folded_in_every_super_step() -> None:
    """The engine then asks for its change also where nothing was written."""
    channels = Channels([make_channel("log", Annotated[list[str], add])])
    assert [channel.spec.every_step for channel in channels] == [False]
    builder = with_fold(StateGraph(State), OneStep())
    assert {channel.name: channel.spec.every_step for channel in builder.schema.channels} == {
        "words": True,
        "log": False,
        "note": False,
    }


def test_a_value_lasts_for_the_next_super_step_only() -> None:
    """Those who run in it see what was written in the one before; with no writer, the channel loses its value."""
    harness = Harness(CHAIN, {"a": ["a"], "b": None, "c": None})
    runner = harness.runner()
    assert runner.invoke({"words": ["in"]}, THREAD) == {"log": ["a", "b", "c"]}
    assert harness.seen == {"a": ["in"], "b": ["a"], "c": None}
    assert words_in_history(runner) == [None, ["in"], ["a"], None, None]
    assert harness.new_batches() == [["in"], ["a"], []]


def test_each_task_carries_the_change_of_a_super_step_without_a_writer() -> None:
    """Two tasks that write other channels bring the same change; the commit uses it, and folds nothing."""
    harness = Harness(PARALLEL, {"a": None, "b": None, "c": None, "d": None})
    runner = harness.runner()
    assert runner.invoke({"words": ["in"]}, THREAD) == {"log": ["a", "b", "c", "d"]}
    assert harness.new_batches() == [["in"], [], [], []]
    assert harness.seen == {"a": ["in"], "b": ["in"], "c": ["in"], "d": None}


def test_the_writes_of_two_tasks_are_folded_together() -> None:
    """The task that wrote nothing brings the change of an empty batch, which is not used."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": ["c"], "d": None})
    runner = harness.runner()
    assert runner.invoke({"words": ["in"]}, THREAD) == {"log": ["a", "b", "c", "d"]}
    assert harness.seen["d"] == ["a", "c"]
    batches = harness.new_batches()
    assert sorted(batches[1:4]) == [[], ["a"], ["c"]]
    assert [batches[0], *batches[4:]] == [["in"], ["a", "c"], []]


def test_the_write_of_one_task_among_several_is_used_as_it_is() -> None:
    """The other tasks' changes, of an empty batch, do not compete with it."""
    harness = Harness(PARALLEL, {"a": None, "b": ["b"], "c": None, "d": None})
    assert harness.runner().invoke({"words": ["in"]}, THREAD) == {"log": ["a", "b", "c", "d"]}
    assert harness.seen["d"] == ["b"]
    assert len(harness.new_batches()) == 1 + 3 + 1


def test_a_router_sees_what_the_commit_makes() -> None:
    """After a write, the new value; without one, none."""
    harness = Harness("START > a, c > END", {"a": ["a"], "b": None, "c": None})
    routed: list[Any] = []

    def to(target: str) -> Callable[[State], str]:
        def router(state: State) -> str:
            routed.append(state.get("words"))
            return target

        return router

    harness.builder.add_conditional_edges("a", to("b")).add_conditional_edges("b", to("c"))
    harness.runner().invoke({"words": ["in"]}, THREAD)
    assert routed == [["a"], None]


def test_a_failed_task_sees_the_value_again_after_a_resume() -> None:
    """A failure ends no super-step. The finished tasks' changes are kept, also in the record."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    harness.failing = set()
    harness.new_batches()
    assert runner.invoke(None, THREAD) == {"log": ["a", "b", "c", "d"]}
    assert harness.seen == {"a": ["in"], "b": ["in"], "c": ["in"], "d": ["a"]}
    assert harness.runs == {"a": 1, "b": 2, "c": 1, "d": 1}
    assert words_in_history(runner) == [None, ["in"], ["a"], None]


@pytest.mark.parametrize(
    ("words", "seen", "batches"),
    [(["a"], ["a"], [[], ["a"], []]), (None, None, [[], []])],
    ids=["a task wrote", "no task wrote"],
)
def test_an_update_meanwhile_makes_the_carried_changes_old(
    words: list[str] | None, seen: list[str] | None, batches: list[list[str]]
) -> None:
    """Another value is there now, so what the finished tasks wrote, or did not write, is folded anew."""
    harness = Harness(PARALLEL, {"a": words, "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    runner.update_state(THREAD, {"words": ["human"]}, as_node="human")
    assert words_in_history(runner)[-1] == ["human"]
    harness.failing = set()
    harness.new_batches()
    assert runner.invoke(None, THREAD) == {"log": ["a", "b", "c", "d"]}
    assert (harness.seen["b"], harness.seen["d"]) == (["human"], seen)
    assert harness.new_batches() == batches


def test_a_value_that_has_gone_may_come_again() -> None:
    """A later input, in another run, writes it to a channel without a value."""
    harness = Harness(CHAIN, {"a": None, "b": None, "c": None})
    runner = harness.runner()
    assert runner.invoke({"words": ["in"]}, THREAD) == {"log": ["a", "b", "c"]}
    assert runner.invoke({"words": ["again"]}, THREAD) == {"log": ["a", "b", "c"] * 2}
    assert harness.seen == {"a": ["again"], "b": None, "c": None}
    assert words_in_history(runner) == [None, ["in"], None, None, None, None, ["again"], None, None, None]


def test_a_channel_with_an_empty_value_shows_that_in_place_of_none() -> None:
    """Nodes get the empty value where the channel has none; snapshots show that it has none."""
    harness = Harness(CHAIN, {"a": ["a"], "b": None, "c": None}, empty=[])
    runner = harness.runner()
    assert runner.invoke({}, THREAD) == {"log": ["a", "b", "c"]}
    assert harness.seen == {"a": [], "b": ["a"], "c": []}
    assert words_in_history(runner) == [None, None, ["a"], None, None]


def test_the_value_of_a_failed_head_shows_only_what_is_certain() -> None:
    """One finished task wrote: its value is shown, as far as the others have finished."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    assert runner.get_state(THREAD).values == {"words": ["a"], "log": ["a", "c"]}


def test_the_value_of_a_failed_head_is_left_out_if_two_tasks_wrote() -> None:
    """Only the graph's code can tell it; the tasks' results show the writes, and other channels their pending value."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": ["c"], "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    assert runner.get_state(THREAD).values == {"words": ["in"], "log": ["a", "c"]}


def test_the_value_of_a_failed_head_is_left_out_if_it_has_changed_meanwhile() -> None:
    """The finished tasks' changes are old, which hides this channel, and no other."""
    harness = Harness(PARALLEL, {"a": None, "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    runner.update_state(THREAD, {"words": ["human"]}, as_node="human")
    assert runner.get_state(THREAD).values == {"words": ["human"], "log": ["a", "c"]}
