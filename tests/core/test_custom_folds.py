"""Tests of channels whose reducer only the graph's code has: when it runs, on which writes, and what is kept if not."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, StateGraph
from stepgraph.engine.changes import Replacement, Splice
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.folding import Entry, Unfolded, fold, unfolded
from stepgraph.engine.folds import APPEND, CUSTOM
from stepgraph.engine.spec import ChannelSpec, GraphSpec
from stepgraph.errors import NodeError, ReducerError, StepgraphError
from stepgraph.execution.channels import Channel, Channels
from stepgraph.execution.reducers import CustomFold, PairwiseFold
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, build


class Batches:
    """A fold that appends, and records every batch that it folds; it fails for the texts in `refused`."""

    every_step = False

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[str]]] = []
        self.refused: set[str] = set()

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        texts = [text for write in writes for text in write]
        self.batches.append((list(value), texts))
        if refused := self.refused.intersection(texts):
            raise ValueError(f"not {refused.pop()}")
        return value + texts


class State(TypedDict, total=False):
    words: Annotated[list[str], lambda left, right: left + right]
    log: Annotated[list[str], add]
    note: str


def with_fold(builder: StateGraph, custom_fold: CustomFold, **fields: Any) -> StateGraph:
    """Give the channel `words` another fold. A channel is made so where the built-in ways do not suffice."""

    def changed(channel: Channel) -> Channel:
        return replace(channel, custom_fold=custom_fold, **fields) if channel.name == "words" else channel

    builder.schema.channels = Channels(map(changed, builder.schema.channels))
    return builder


class Harness:
    """A `MemoryRunner` whose nodes write the given texts to `words`, and fail while their name is in `failing`."""

    def __init__(self, edges: str, words: dict[str, list[str] | None], fold: CustomFold | None = None) -> None:
        self.batches = Batches()
        self.failing: set[str] = set()
        self.runs: Counter[str] = Counter()
        self.routed: list[Any] = []
        nodes = {name: self._node(name, texts) for name, texts in words.items()}
        self.builder = with_fold(build(State, edges, nodes), fold or self.batches)

    def _node(self, name: str, texts: list[str] | None) -> Callable[[State], dict[str, Any]]:
        def run(state: State) -> dict[str, Any]:
            self.runs[name] += 1
            if name in self.failing:
                raise ConnectionError(f"{name} is down")
            return {"log": [name]} if texts is None else {"log": [name], "words": texts}

        return run

    def route(self, source: str, target: str) -> None:
        """Add a router that records the words that it gets."""

        def router(state: State) -> str:
            self.routed.append(state.get("words"))
            return target

        self.builder.add_conditional_edges(source, router)

    def runner(self) -> MemoryRunner:
        return MemoryRunner(self.builder.compile(name="g"))

    def new_batches(self) -> list[tuple[list[str], list[str]]]:
        """Return the batches that were folded since the last call, each with the value before it."""
        batches, self.batches.batches = self.batches.batches, []
        return batches


PARALLEL = "START > a, START > b, START > c, a+b+c > d, d > END"


def test_the_change_of_a_single_writer_is_used_as_it_is() -> None:
    """The node's activity folds its write once; the commit and the router use the change that it made."""
    harness = Harness("START > a, b > END", {"a": ["a"], "b": ["b"]})
    harness.route("a", "b")
    runner = harness.runner()
    assert runner.invoke({"words": ["in"]}, THREAD) == {"words": ["in", "a", "b"], "log": ["a", "b"]}
    assert harness.new_batches() == [([], ["in"]), (["in"], ["a"]), (["in", "a"], ["b"])]
    assert harness.routed == [["in", "a"]]


def test_the_writes_of_several_tasks_are_folded_as_one_batch_in_their_order() -> None:
    """Each activity folds its own write, for its routers; the commit folds all of them once more, from the start."""
    harness = Harness(PARALLEL, {"b": ["b1", "b2"], "c": None, "d": ["d"]})
    others_have_run = threading.Event()

    def slow(state: State) -> dict[str, Any]:
        others_have_run.wait(10)
        return {"words": ["a"]}

    def router(state: State) -> str:
        others_have_run.set()
        return END

    harness.builder.add_node("a", slow).add_conditional_edges("b", router)
    assert harness.runner().invoke({}, THREAD)["words"] == ["a", "b1", "b2", "d"]
    assert harness.new_batches() == [
        ([], ["b1", "b2"]),
        ([], ["a"]),
        ([], ["a", "b1", "b2"]),
        (["a", "b1", "b2"], ["d"]),
    ]


def test_nothing_is_dropped_when_an_update_changes_the_value_meanwhile() -> None:
    """`a` finished, `b` failed, a person wrote to the channel: the change of `a` is old, and its write is folded anew.

    So it comes after the person's, as the checkpoints do.
    """
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    assert runner.get_state(THREAD).values["words"] == ["in", "a"]
    runner.update_state(THREAD, {"words": ["human"]}, as_node="human")
    harness.new_batches()
    head = runner.get_state(THREAD)
    assert head.values["words"] == ["in", "human"]
    assert [task.result for task in head.tasks] == [{"log": ["a"], "words": ["a"]}, None, {"log": ["c"]}]
    harness.failing.clear()
    assert runner.invoke(None, THREAD)["words"] == ["in", "human", "a"]
    assert harness.new_batches() == [(["in", "human"], ["a"])]
    assert harness.runs == {"a": 1, "b": 2, "c": 1, "d": 1}


def test_a_change_stays_valid_when_an_update_changes_other_values() -> None:
    """A virtual author's update of another channel carries the change over, also to the next run."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    runner.update_state(THREAD, {"note": "x"}, as_node="human")
    assert runner.get_state(THREAD).values["words"] == ["in", "a"]
    harness.new_batches()
    harness.failing.clear()
    assert runner.invoke(None, THREAD)["words"] == ["in", "a"]
    assert harness.new_batches() == []


def test_an_update_beside_a_finished_task_is_folded_with_it() -> None:
    """An update that becomes the result of the failed task completes the super-step: one batch, in the tasks' order."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": ["c"], "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({}, THREAD)
    runner.update_state(THREAD, {"words": ["by hand"]}, as_node="b")
    head = runner.get_state(THREAD)
    assert (head.values["words"], head.next) == (["a", "by hand", "c"], ("d",))
    assert harness.new_batches()[-1] == ([], ["a", "by hand", "c"])


def test_a_failed_reducer_is_asked_again_after_a_mend_and_its_node_is_not() -> None:
    """Then the writes are folded, the routers that were not asked are asked, and the run goes on."""
    harness = Harness("START > a, START > b, b > END, c > END", {"a": ["a"], "b": ["b"], "c": None})
    harness.route("a", "c")
    harness.batches.refused = {"a"}
    runner = harness.runner()
    for input_data in ({"words": ["in"]}, None):
        with pytest.raises(ReducerError, match=r"The reducer of channel 'words' failed in step 2 .* ValueError: not a"):
            runner.invoke(input_data, THREAD)
        head = runner.get_state(THREAD)
        assert (head.values, head.next) == ({"words": ["in"], "log": ["a", "b"]}, ("a", "b"))
        assert [task.error for task in head.tasks] == [None, None]
    assert harness.routed == []
    harness.batches.refused = set()
    harness.new_batches()
    assert runner.invoke(None, THREAD) == {"words": ["in", "a", "b"], "log": ["a", "b", "c"]}
    assert (harness.runs, harness.routed) == ({"a": 1, "b": 1, "c": 1}, [["in", "a"]])
    assert harness.new_batches() == [(["in"], ["a", "b"]), (["in"], ["a"])]


def test_a_reducer_may_fail_on_the_writes_of_all_tasks_only() -> None:
    """Each write fits alone, so the routers were asked. Together they do not fit, and a resume folds them again."""
    mended: list[bool] = []
    inputs: list[Any] = [{}, None]

    def at_most_one(left: list[str], right: list[str]) -> list[str]:
        if left and not mended:
            raise ValueError("full")
        return left + right

    edges = "START > a, START > b, b > END, c > END"
    harness = Harness(edges, {"a": ["a"], "b": ["b"], "c": None}, PairwiseFold(at_most_one))
    harness.route("a", "c")
    runner = harness.runner()
    for input_data in inputs:
        with pytest.raises(ReducerError, match="in step 2 on what 'b' wrote: ValueError: full") as caught:
            runner.invoke(input_data, THREAD)
        assert (caught.value.channel, caught.value.node, caught.value.step) == ("words", "b", 2)
    mended.append(True)
    assert runner.invoke(None, THREAD) == {"words": ["a", "b"], "log": ["a", "b", "c"]}
    assert (harness.runs, harness.routed) == ({"a": 1, "b": 1, "c": 1}, [["a"]])


def test_an_update_that_a_reducer_refuses_changes_nothing() -> None:
    """Its author learns why, and the thread goes on as before."""
    harness = Harness(PARALLEL, {"a": ["a"], "b": None, "c": None, "d": None})
    harness.failing = {"b"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({}, THREAD)
    before = runner.get_state(THREAD), list(runner.get_state_history(THREAD))
    harness.batches.refused = {"bad"}
    for author in ("human", "b", "d"):
        with pytest.raises(ReducerError, match=f"on what '{author}' wrote: ValueError: not bad"):
            runner.update_state(THREAD, {"words": ["bad"]}, as_node=author)
        assert (runner.get_state(THREAD), list(runner.get_state_history(THREAD))) == before


def test_the_values_of_a_failed_head_show_only_what_is_certain() -> None:
    """One finished task wrote to the channel: its value is shown. With two, the tasks' results show the writes."""
    words: dict[str, list[str] | None] = {"a": ["a"], "b": None, "c": ["c"], "d": None}
    harness = Harness(PARALLEL, words)
    harness.failing = {"b", "c"}
    runner = harness.runner()
    with pytest.raises(NodeError):
        runner.invoke({"words": ["in"]}, THREAD)
    assert runner.get_state(THREAD).values == {"words": ["in", "a"], "log": ["a"]}
    harness.failing = {"b"}
    with pytest.raises(NodeError):
        runner.invoke(None, THREAD)
    head = runner.get_state(THREAD)
    assert head.values == {"words": ["in"], "log": ["a", "c"]}
    assert [task.result for task in head.tasks] == [
        {"log": ["a"], "words": ["a"]},
        None,
        {"log": ["c"], "words": ["c"]},
    ]
    assert runner.get_state(head.config).values == {"words": ["in"], "log": []}
    harness.failing = set()
    assert runner.invoke(None, THREAD)["words"] == ["in", "a", "c"]


WORDS = ChannelSpec(name="words", type="list[str]", reducer="merge", fold=CUSTOM, has_zero=True, zero=[])
SPEC = GraphSpec(name="g", channels=(WORDS, ChannelSpec(name="log", type="list[str]", fold=APPEND)), nodes=())
VERSIONS = {"words": "r.000007"}


def entry(node: str, *, changed: bool = True, version: str | None = "r.000007") -> Entry:
    """Return what a task contributes that wrote its name to both channels."""
    result = TaskResult(writes=({"words": [node], "log": [node]},))
    if changed:
        result = result.model_copy(update={"changes": {"words": Splice(keep=1, items=[node])}})
    versions = {} if version is None else {"words": version}
    return Entry(f"id of {node}", node, result.starting_from(versions))


@pytest.mark.parametrize(
    ("entries", "channels"),
    [
        ([entry("a")], None),
        ([entry("a", version="r.000006")], ("words",)),
        ([entry("a", version=None)], ("words",)),
        ([entry("a", changed=False)], ("words",)),
        ([entry("a"), entry("b")], ("words",)),
        ([Entry("id", "a", TaskResult(writes=({"log": ["a"]},)))], None),
        ([], None),
    ],
    ids=["one", "an old one", "one of a thread without versions", "none carried", "two", "no write", "no task"],
)
def test_the_engine_uses_a_change_only_if_it_is_the_whole_super_step(
    entries: list[Entry], channels: tuple[str, ...] | None
) -> None:
    """A single task wrote to the channel, and its change was made from the very value that the channel still has."""
    missing = unfolded(SPEC, {"words": ["in"]}, VERSIONS, entries, step=3)
    if channels is None:
        assert missing is None
        texts = [text for each in entries for write in each.result.writes for text in write.get("words", [])]
        assert fold(SPEC, {"words": ["in"]}, VERSIONS, entries, {}, step=3)["words"] == ["in", *texts]
    else:
        assert missing == Unfolded({"words": ["in"]}, 3, tuple(entries), channels)
        with pytest.raises(StepgraphError, match="Channel 'words' was not folded in step 3"):
            fold(SPEC, {"words": ["in"]}, VERSIONS, entries, {}, step=3)
        changes = {"words": Replacement(value=["folded"])}
        assert fold(SPEC, {"words": ["in"]}, VERSIONS, entries, changes, step=3)["words"] == ["folded"]


def test_a_router_that_was_not_asked_needs_the_graphs_code() -> None:
    """Also if nothing has to be folded: the reducer of another channel had failed."""
    (_, node, result) = entry("a")
    unrouted = [Entry("id", node, result.model_copy(update={"unrouted": True}))]
    assert unfolded(SPEC, {"words": ["in"]}, VERSIONS, unrouted, step=3) == Unfolded(
        {"words": ["in"]}, 3, tuple(unrouted), ()
    )


def test_a_change_that_does_not_fit_is_an_error() -> None:
    """It says which channel; no value is made up."""
    with pytest.raises(StepgraphError, match="change of channel 'words' in step 3 does not fit its value: a list of 1"):
        fold(SPEC, {"words": []}, VERSIONS, [entry("a")], {}, step=3)
