"""Tests of updates, forks and replays: who signs them, what they keep, and what runs after them."""

from __future__ import annotations

import asyncio
from collections import Counter
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, Command, StateSnapshot, interrupt
from stepgraph.errors import (
    CheckpointNotFoundError,
    EmptyInputError,
    InvalidInputError,
    InvalidUpdateError,
    NodeError,
    ReducerError,
    ThreadBusyError,
    ThreadError,
)
from stepgraph.protocol.snapshot import config_for
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, build, state_of


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    text: str


class Harness:
    """A `MemoryRunner` whose nodes log their names, count their runs, and fail while their name is in `failing`."""

    def __init__(
        self, edges: str, nodes: str, routes: dict[str, Any] | None = None, *, state: type = State, **options: Any
    ) -> None:
        self.runs: Counter[str] = Counter()
        self.failing: set[str] = set()
        builder = build(state, edges, {name: self._node(name) for name in nodes.split()})
        for source, router in (routes or {}).items():
            builder.add_conditional_edges(source, router)
        self.runner = MemoryRunner(builder.compile(name="g", **options))

    def _node(self, name: str) -> Any:
        def node(state: dict[str, Any]) -> dict[str, Any]:
            self.runs[name] += 1
            if name in self.failing:
                raise ConnectionError(f"{name} is down")
            return {"log": [name]}

        return node

    def run(self, *failing: str) -> None:
        """Invoke the graph with an empty input, while these nodes fail."""
        self.failing = set(failing)
        if failing:
            with pytest.raises(NodeError):
                self.runner.invoke({}, THREAD)
            self.failing = set()
        else:
            self.runner.invoke({}, THREAD)

    @property
    def head(self) -> StateSnapshot:
        return self.runner.get_state(THREAD)

    @property
    def history(self) -> list[StateSnapshot]:
        return list(self.runner.get_state_history(THREAD))

    def at(self, *next: str) -> dict[str, Any]:
        """Return the config of the newest checkpoint at which exactly these nodes run next."""
        return snapshot_before(self.history, *next).config


def snapshot_before(history: list[StateSnapshot], *nodes: str) -> StateSnapshot:
    """Return the newest snapshot after which exactly these nodes run."""
    return next(snapshot for snapshot in history if snapshot.next == nodes)


CHAIN = ("START > a, a > b, b > c, c > END", "a b c")
PARALLEL = ("START > a, START > b, START > c, a+b+c > d, d > END", "a b c d")


def test_an_update_makes_a_checkpoint_and_runs_no_node() -> None:
    """An update's checkpoint, child of the addressed one, becomes the head. Its values pass through the reducers."""
    harness = Harness(*CHAIN)
    harness.run()
    history_before = harness.history
    target = snapshot_before(history_before, "b")
    update_config = harness.runner.update_state(target.config, {"log": ["x"], "text": "t"}, as_node="a")
    head = harness.head
    assert head.config == update_config
    assert head.values == {"log": ["a", "x"], "text": "t"}
    assert head.metadata == {"source": "update", "step": 3, "writes": {"a": {"log": ["x"], "text": "t"}}}
    assert (head.next, head.parent_config) == (("b",), target.config)
    assert harness.history[1:] == history_before
    assert harness.runs == {"a": 1, "b": 1, "c": 1}
    assert harness.runner.invoke(None, THREAD)["log"] == ["a", "x", "b", "c"]


def test_an_update_without_as_node_is_signed_by_the_last_writer() -> None:
    """On a thread that does not exist yet, the update is signed by START."""
    harness = Harness(*CHAIN)
    harness.runner.update_state(THREAD, {"text": "in"})
    assert (harness.head.next, harness.head.values, harness.head.parent_config) == (
        ("a",),
        {"text": "in", "log": []},
        None,
    )
    assert harness.runner.invoke(None, THREAD)["log"] == ["a", "b", "c"]
    harness.runner.update_state(harness.at("b"), {"text": "x"})
    assert (harness.head.next, list((harness.head.metadata or {})["writes"])) == (("b",), ["a"])
    harness.runner.update_state(THREAD, {"text": "y"})
    assert (harness.head.next, harness.head.values["text"]) == (("b",), "y")


def test_an_update_after_several_last_writers_is_ambiguous() -> None:
    """The error about an ambiguous update names the writers and the fix, and the thread does not change."""
    harness = Harness(*PARALLEL)
    harness.run()
    history_before = harness.history
    with pytest.raises(InvalidUpdateError, match=r"ambiguous: 'a', 'b', 'c' wrote last\. .*as_node='\.\.\.'") as caught:
        harness.runner.update_state(harness.at("d"), {"text": "x"})
    assert caught.value.nodes == ["a", "b", "c"]
    assert harness.history == history_before
    harness.runner.update_state(harness.at("d"), {"text": "x"}, as_node="human")
    assert harness.head.next == ("d",)


def test_an_update_as_end_finishes_the_thread() -> None:
    """After an update signed by END no node runs next, and the thread accepts a new input."""
    harness = Harness(*CHAIN)
    harness.run("b")
    harness.runner.update_state(THREAD, {"text": "enough"}, as_node=END)
    assert (harness.head.next, harness.head.values) == ((), {"log": ["a"], "text": "enough"})
    assert harness.runner.invoke(None, THREAD) == {"log": ["a"], "text": "enough"}
    assert harness.runner.invoke({}, THREAD)["log"] == ["a", "a", "b", "c"]


def test_an_update_as_start_runs_the_first_nodes_next() -> None:
    """An update signed by START behaves like an input, without the input checkpoint."""
    harness = Harness(*CHAIN)
    harness.run()
    harness.runner.update_state(THREAD, {"text": "x"}, as_node=START)
    assert (harness.head.next, len(harness.history)) == (("a",), 6)


def test_an_unknown_author_is_refused_with_the_near_miss() -> None:
    """The near miss of an unknown author may be a node or one of the graph's own virtual authors."""
    harness = Harness("START > gather, gather > report, report > END", "gather report", authors=("editor",))
    harness.run()
    for wrong, message in (("reprot", "'report'"), ("editr", "'editor'")):
        with pytest.raises(InvalidUpdateError, match=rf"no node '{wrong}' .* Did you mean {message}\?"):
            harness.runner.update_state(THREAD, {"text": "x"}, as_node=wrong)
    with pytest.raises(InvalidUpdateError, match="no node 'human'"):
        harness.runner.update_state(THREAD, {"text": "x"}, as_node="human")
    harness.runner.update_state(THREAD, {"text": "x"}, as_node="editor")
    assert harness.head.values["text"] == "x"


def test_the_edges_and_routers_of_the_author_decide_what_runs_next() -> None:
    """The author's router receives the values with the update applied, before any node runs."""
    seen_states: list[State] = []

    def route(state: State) -> str:
        seen_states.append(state)
        return "left" if state.get("text") == "left" else "right"

    harness = Harness("START > a, left > END, right > END", "a left right", {"a": route})
    harness.run()
    harness.runner.update_state(harness.at("right"), {"text": "left", "log": ["x"]}, as_node="a")
    assert harness.head.next == ("left",)
    assert seen_states[-1] == {"log": ["a", "x"], "text": "left"}
    assert harness.runs == {"a": 1, "right": 1}


def test_an_update_whose_router_fails_is_refused() -> None:
    """The error of the author's router is a `NodeError` of the router's exception type; the thread does not change."""

    def route(state: State) -> str:
        if state.get("text") == "bad":
            raise ConnectionError("no map")
        return END

    harness = Harness("START > a", "a", {"a": route})
    harness.run()
    history_before = harness.history
    with pytest.raises(ConnectionError, match=r"A router of node 'a' failed: ConnectionError: no map\.") as caught:
        harness.runner.update_state(THREAD, {"text": "bad"}, as_node="a")
    assert isinstance(caught.value, NodeError)
    assert harness.history == history_before


def test_an_update_counts_towards_a_join() -> None:
    """An update signed by a source completes a join that was unfinished at the addressed checkpoint."""
    harness = Harness("START > a, START > x, x > b, a+b > c, c > END", "a b c x")
    harness.run()
    harness.runner.update_state(harness.at("b"), {"text": "t"}, as_node="b")
    assert harness.head.next == ("c",)


@pytest.mark.parametrize("author", ["a", "b"])
def test_an_update_as_a_source_keeps_a_complete_join(author: str) -> None:
    """What follows a join runs after an update or a fork in the name of either source, on the thread or on another."""
    harness = Harness("START > a, START > b, a+b > c, c > d, d > END", "a b c d")
    harness.run()
    before_c = harness.at("c")
    harness.runner.update_state(before_c, {"text": "t"}, as_node=author)
    assert harness.head.next == ("c",)
    assert harness.runner.invoke(None, THREAD) == {"log": ["a", "b", "c", "d"], "text": "t"}
    for thread_id in (None, "another"):
        forked = harness.runner.fork(before_c, {"text": "f"}, as_node=author, thread_id=thread_id)
        assert forked == {"log": ["a", "b", "c", "d"], "text": "f"}


def test_a_join_begins_again_when_its_target_has_run() -> None:
    """After the target, or an update in its name, the join waits for both sources, however it came to be complete."""
    harness = Harness("START > a, START > b, a+b > c, c > d, d > END", "a b c d")
    harness.run()
    after_c = harness.at("d")
    harness.runner.update_state(after_c, None, as_node="a")
    assert harness.head.next == ()
    harness.runner.update_state(THREAD, None, as_node="b")
    assert harness.head.next == ("c",)
    harness.runner.update_state(THREAD, None, as_node="c")
    assert harness.head.next == ("d",)
    harness.runner.update_state(THREAD, None, as_node="a")
    assert harness.head.next == ()


def test_a_new_input_begins_a_complete_join_again() -> None:
    """The target of a complete join is dropped with the other tasks that were due. Then both sources have to finish."""
    harness = Harness("START > a, START > x, x > b, a+b > c, c > END", "a b c x")
    harness.runner.invoke({}, THREAD, interrupt_before="c")
    harness.runner.invoke({}, THREAD, interrupt_before="b")
    assert harness.head.next == ("b",)
    assert harness.runs == {"a": 2, "x": 2, "b": 1}


def test_a_virtual_author_changes_values_and_nothing_else() -> None:
    """An update of a virtual author keeps `next` and the head's tasks, with their results and errors."""
    harness = Harness(*PARALLEL)
    harness.run("b")
    failed = harness.head
    harness.runner.update_state(THREAD, {"text": "x"}, as_node="human")
    assert (harness.head.next, harness.head.tasks) == (failed.next, failed.tasks)
    assert harness.head.metadata == {"source": "update", "step": 2, "writes": {"human": {"text": "x"}}}
    assert harness.runner.invoke(None, THREAD) == {"log": ["a", "b", "c", "d"], "text": "x"}
    assert harness.runs == {"a": 1, "b": 2, "c": 1, "d": 1}


def test_an_update_as_a_pending_node_becomes_its_result() -> None:
    """An update signed by a pending node is its result. When all siblings have one, the super-step is committed."""
    harness = Harness(*PARALLEL)
    harness.run("a", "b")
    failed = harness.head
    assert harness.runner.update_state(THREAD, {"log": ["by hand"]}, as_node="b") == failed.config
    assert (harness.head.next, harness.head.values) == (("a",), {"log": ["by hand", "c"]})
    assert [(task.name, task.error, task.result) for task in harness.head.tasks] == [
        ("a", "ConnectionError('a is down')", None),
        ("b", None, {"log": ["by hand"]}),
        ("c", None, {"log": ["c"]}),
    ]
    harness.runner.update_state(THREAD, {}, as_node="a")
    assert (harness.head.next, harness.head.values) == (("d",), {"log": ["by hand", "c"]})
    assert harness.head.metadata == {
        "source": "update",
        "step": 2,
        "writes": {"a": None, "b": {"log": ["by hand"]}, "c": {"log": ["c"]}},
    }
    assert harness.head.parent_config == failed.config
    assert harness.runner.invoke(None, THREAD)["log"] == ["by hand", "c", "d"]
    assert harness.runs == {"a": 1, "b": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("new_thread_id", [None, "t2"])
def test_an_update_as_a_node_that_was_pending_keeps_its_siblings_results(new_thread_id: str | None) -> None:
    """An update at an earlier checkpoint, and a fork on a new thread, keep the results of finished siblings."""
    harness = Harness(*PARALLEL)
    harness.run("a", "b")
    earlier = harness.head.config
    harness.run()
    history_before, config = harness.history, THREAD
    if new_thread_id is None:
        harness.runner.update_state(earlier, {"log": ["by hand"]}, as_node="b")
        assert (harness.head.next, harness.head.parent_config, harness.history[1:]) == (("a",), earlier, history_before)
        harness.runner.invoke(None, THREAD)
    else:
        config = config_for(new_thread_id)
        harness.runner.fork(earlier, {"log": ["by hand"]}, as_node="b", thread_id=new_thread_id)
    assert harness.runner.get_state(config).values["log"] == ["a", "by hand", "c", "d"]
    assert harness.runs == {"a": 3, "b": 2, "c": 2, "d": 2}


def test_the_last_pending_node_of_an_earlier_checkpoint_commits_it() -> None:
    """An update signed by the last pending node of an earlier checkpoint makes a new branch from it."""
    harness = Harness(*PARALLEL)
    harness.run("b")
    earlier = harness.head.config
    harness.run()
    harness.runner.update_state(earlier, {"log": ["by hand"]}, as_node="b")
    assert (harness.head.values, harness.head.next) == ({"log": ["a", "by hand", "c"]}, ("d",))
    assert ((harness.head.metadata or {})["source"], harness.head.parent_config) == ("update", earlier)


@pytest.mark.parametrize("new_thread_id", [None, "t2"])
def test_an_update_of_a_virtual_author_keeps_the_results_of_finished_nodes(new_thread_id: str | None) -> None:
    """After a virtual author's update only unfinished nodes run, also at an earlier checkpoint or on a new thread."""
    harness = Harness(*PARALLEL)
    harness.run("a", "b")
    earlier = harness.head
    harness.run()
    harness.runs.clear()
    if new_thread_id is None:
        harness.runner.update_state(earlier.config, {"text": "noted"}, as_node="human")
        assert (harness.head.next, harness.head.values) == (("a", "b"), {"log": ["c"], "text": "noted"})
        assert [task.result for task in harness.head.tasks] == [None, None, {"log": ["c"]}]
        harness.runner.invoke(None, THREAD)
    else:
        harness.runner.fork(earlier.config, {"text": "noted"}, as_node="human", thread_id=new_thread_id)
    values = harness.runner.get_state(config_for(new_thread_id or "t1")).values
    assert values == {"log": ["a", "b", "c", "d"], "text": "noted"}
    assert harness.runs == {"a": 1, "b": 1, "d": 1}


def test_a_virtual_author_at_a_committed_super_step_makes_all_its_tasks_run_again() -> None:
    """An update at a committed super-step starts a branch without its results, which belong to the next checkpoint."""
    harness = Harness(*PARALLEL)
    harness.run()
    harness.runner.update_state(harness.at("a", "b", "c"), {"text": "noted"}, as_node="human")
    assert (harness.head.next, harness.head.values) == (("a", "b", "c"), {"log": [], "text": "noted"})
    harness.runner.invoke(None, THREAD)
    assert harness.runs == {"a": 2, "b": 2, "c": 2, "d": 2}


def test_an_interrupt_of_an_earlier_checkpoint_waits_again_after_an_update() -> None:
    """A virtual author's update at an earlier checkpoint keeps its interrupt and the results of siblings."""
    ran: list[str] = []

    def beside(state: State) -> dict[str, Any]:
        ran.append("b")
        return {"log": ["b"]}

    nodes = {"ask": lambda state: {"log": [interrupt("?")]}, "b": beside}
    runner = MemoryRunner(build(State, "START > ask, START > b, ask > END, b > END", nodes).compile(name="g"))
    (waiting,) = runner.invoke({}, THREAD)["__interrupt__"]
    earlier = runner.get_state(THREAD).config
    runner.invoke({}, THREAD)
    runner.update_state(earlier, {"text": "noted"}, as_node="human")
    assert runner.get_state(THREAD).interrupts == (waiting,)
    assert runner.invoke(Command(resume="yes"), THREAD) == {"log": ["yes", "b"], "text": "noted"}
    assert ran == ["b", "b"]


@pytest.mark.parametrize(
    ("values", "as_node", "expected"),
    [
        ({"text": "right"}, None, {"log": ["in", "a"], "text": "right"}),
        ({"log": ["more"], "text": "right"}, None, {"log": ["in", "more", "a"], "text": "right"}),
        ({"text": "right"}, START, {"log": ["a"], "text": "right"}),
    ],
)
def test_an_update_at_an_unapplied_input_is_added_to_it(
    values: dict[str, Any], as_node: str | None, expected: dict[str, Any]
) -> None:
    """START's router failed on the input and runs again. Only an update signed by START replaces the input."""

    def entry(state: State) -> str:
        return {"right": "a"}[state["text"]]

    harness = Harness("a > END", "a", {START: entry})
    with pytest.raises(KeyError):
        harness.runner.invoke({"log": ["in"], "text": "wrong"}, THREAD)
    harness.runner.update_state(THREAD, values, as_node=as_node)
    assert harness.head.next == ("a",)
    assert harness.runner.invoke(None, THREAD) == expected


def test_an_update_at_an_earlier_input_checkpoint_is_added_to_its_input() -> None:
    """An update at an earlier input checkpoint makes a branch with that input and the update."""
    harness = Harness(*CHAIN)
    harness.runner.invoke({"log": ["in"], "text": "first"}, THREAD)
    harness.runner.update_state(harness.at(START), {"text": "second"})
    assert (harness.head.next, harness.head.values) == (("a",), {"log": ["in"], "text": "second"})
    assert (harness.head.metadata or {})["writes"] == {START: {"log": ["in"], "text": "second"}}


def test_updates_made_together_as_pending_nodes_become_their_results() -> None:
    """Updates of one super-step may give several pending nodes their results; a finished sibling keeps its own."""
    harness = Harness(*PARALLEL)
    harness.run("a", "b")
    harness.runner.bulk_update_state(THREAD, [[({"log": ["A"]}, "a"), ({"log": ["B"]}, "b")]])
    assert (harness.head.next, harness.head.values) == (("d",), {"log": ["A", "B", "c"]})


def test_a_pending_node_that_was_updated_does_not_run() -> None:
    """A resume after an update signed by a pending node runs only its siblings, and makes a ``loop`` checkpoint."""
    harness = Harness(*PARALLEL)
    harness.run("a", "b")
    harness.runner.update_state(THREAD, {"log": ["by hand"]}, as_node="b")
    assert harness.runner.invoke(None, THREAD)["log"] == ["a", "by hand", "c", "d"]
    assert harness.runs == {"a": 2, "b": 1, "c": 1, "d": 1}
    assert [(s.metadata or {})["source"] for s in harness.history] == ["loop", "loop", "loop", "input"]


def test_an_update_that_cannot_be_committed_is_rolled_back() -> None:
    """After a failed commit of an update, siblings' results and the node's error are as before."""
    refusing: list[bool] = []

    def at_most_two(left: list[str], right: list[str]) -> list[str]:
        if refusing or len(left + right) > 2:
            raise ValueError("no more")
        return left + right

    harness = Harness(
        "START > a, START > b, a+b > c, c > END", "a b c", state=state_of({"log": Annotated[list[str], at_most_two]})
    )
    harness.run("b")
    failed, history_before = harness.head, harness.history
    for values in ({"log": ["x"]}, {"log": ["x", "y"]}):  # the second fits alone, and not with what `a` wrote
        refusing[:] = [True] if values == {"log": ["x"]} else []
        with pytest.raises(ReducerError, match="no more"):
            harness.runner.update_state(THREAD, values, as_node="b")
        refusing.clear()
        assert (harness.head, harness.history) == (failed, history_before)
    harness.runner.update_state(THREAD, {"log": ["y"]}, as_node="b")
    assert harness.head.values["log"] == ["a", "y"]


BAD_BULKS: dict[str, Any] = {
    "an author that does not exist": [[({"log": ["x"]}, "a")], [({"log": ["y"]}, "nobody")]],
    "a clash in the second": [[({"log": ["x"]}, "human")], [({"text": "1"}, "a"), ({"text": "2"}, "b")]],
    "a pending node first": [[({"log": ["x"]}, "b")], [({"text": "1"}, "a"), ({"text": "2"}, "c")]],
    "all pending nodes, then a clash": [
        [({"log": ["x"]}, "b")],
        [({"log": ["y"]}, "c")],
        [({"text": "1"}, "a"), ({"text": "2"}, "c")],
    ],
    "an ambiguous one": [[({"log": ["x"]}, "a"), ({"log": ["y"]}, "d")], [({"log": ["z"]}, None)]],
}


@pytest.mark.parametrize("supersteps", BAD_BULKS.values(), ids=BAD_BULKS.keys())
def test_a_bulk_of_updates_is_applied_completely_or_not_at_all(supersteps: Any) -> None:
    """A refused bulk changes neither values, history, pending results nor errors, and a resume works as before."""
    harness = Harness(*PARALLEL)
    harness.run("b", "c")
    state_before = harness.head, harness.history
    with pytest.raises(InvalidUpdateError):
        harness.runner.bulk_update_state(THREAD, supersteps)
    assert (harness.head, harness.history) == state_before
    assert harness.runner.invoke(None, THREAD)["log"] == ["a", "b", "c", "d"]
    assert harness.runs == {"a": 1, "b": 2, "c": 2, "d": 1}


def test_a_bulk_of_updates_makes_one_checkpoint_per_super_step() -> None:
    """Updates of one super-step are applied together in the given order. An empty bulk is refused."""
    harness = Harness(*CHAIN)
    harness.run()
    harness.runner.bulk_update_state(
        THREAD, [[({"log": ["2"]}, "b"), ({"log": ["1"]}, "a")], [({"text": "x"}, "human")]]
    )
    assert [((s.metadata or {})["writes"], s.next) for s in harness.history[:2]] == [
        ({"human": {"text": "x"}}, ("b", "c")),
        ({"b": {"log": ["2"]}, "a": {"log": ["1"]}}, ("b", "c")),
    ]
    assert harness.head.values == {"log": ["a", "b", "c", "2", "1"], "text": "x"}
    for empty in ([], [[]], 5, [5]):
        with pytest.raises(InvalidInputError, match="at least one super-step"):
            harness.runner.bulk_update_state(THREAD, empty)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (({"text": "x"},), r"An update of bulk_update_state is \(values, as_node\) or .*; got tuple\."),
        (5, r"An update of bulk_update_state is \(values, as_node\) or .*; got int\."),
        (({"text": "x"}, 5), r"'as_node' must be the name of a node, .* as a string; got int\."),
        (({"text": "x"}, "a", 5), r"'task_id' must be the id of a task, .* as a string; got int\."),
    ],
)
def test_an_update_of_another_shape_is_refused(update: Any, message: str) -> None:
    """The error says what an update is. The thread stays as it is."""
    harness = Harness(*CHAIN)
    harness.run()
    before = harness.history
    with pytest.raises((InvalidInputError, InvalidUpdateError), match=message):
        harness.runner.bulk_update_state(THREAD, [[update]])
    if isinstance(update, tuple) and len(update) > 1:
        with pytest.raises(InvalidUpdateError, match=message):
            harness.runner.update_state(THREAD, *update)
    assert harness.history == before


def test_a_replay_runs_everything_after_its_checkpoint_again() -> None:
    """A replay makes a fork checkpoint, child of the addressed one, the head. The old branch stays as it is."""
    harness = Harness(*CHAIN)
    harness.run()
    history_before = harness.history
    target = snapshot_before(history_before, "b")
    assert harness.runner.invoke(None, target.config)["log"] == ["a", "b", "c"]
    assert harness.runs == {"a": 1, "b": 2, "c": 2}
    fork = harness.history[2]
    assert (fork.metadata or {})["source"] == "fork"
    assert (fork.values, fork.next, fork.parent_config) == (target.values, ("b",), target.config)
    assert (fork.metadata or {})["step"] == (target.metadata or {})["step"] + 1
    assert harness.history[3:] == history_before


def test_a_replay_at_the_head_runs_finished_tasks_again() -> None:
    """A replay at a failed head runs all its tasks, where a resume would run only the failed one."""
    harness = Harness(*PARALLEL)
    harness.run("b")
    assert harness.runner.invoke(None, harness.head.config)["log"] == ["a", "b", "c", "d"]
    assert harness.runs == {"a": 2, "b": 2, "c": 2, "d": 1}


def test_a_replay_of_a_finished_head_runs_no_node() -> None:
    """A replay of a finished thread adds a fork checkpoint to its history and runs no node."""
    harness = Harness(*CHAIN)
    harness.run()
    assert harness.runner.invoke(None, harness.head.config)["log"] == ["a", "b", "c"]
    assert harness.runs == {"a": 1, "b": 1, "c": 1}
    assert (harness.head.metadata or {})["source"] == "fork"


def test_a_replay_of_the_input_checkpoint_applies_the_input_again() -> None:
    """A replay of the first checkpoint, which precedes the input, applies the same input again."""
    harness = Harness(*CHAIN)
    harness.runner.invoke({"text": "in"}, THREAD)
    assert harness.runner.invoke(None, harness.history[-1].config) == {"log": ["a", "b", "c"], "text": "in"}
    assert harness.runs == {"a": 2, "b": 2, "c": 2}


def test_an_input_at_a_checkpoint_continues_from_there() -> None:
    """An input at an earlier checkpoint is a fork signed by START, applied to that checkpoint's values."""
    harness = Harness(*CHAIN)
    harness.run()
    assert harness.runner.invoke({"text": "x"}, harness.at("b")) == {"log": ["a", "a", "b", "c"], "text": "x"}


def test_a_fork_is_an_update_followed_by_a_run() -> None:
    """A fork's checkpoint has source ``fork``, and its author decides what runs next."""
    harness = Harness(*CHAIN)
    harness.run()
    assert harness.runner.fork(harness.at("b"), {"log": ["x"]}, as_node="b")["log"] == ["a", "x", "c"]
    assert harness.runs == {"a": 1, "b": 1, "c": 2}
    assert (harness.history[1].metadata or {}) == {"source": "fork", "step": 3, "writes": {"b": {"log": ["x"]}}}


def test_a_fork_on_a_new_thread_leaves_its_source_untouched() -> None:
    """The first checkpoint of a forked thread names its source in the metadata and continues the source's steps."""
    harness = Harness(*CHAIN)
    harness.run()
    state_before = harness.head, harness.history
    target = snapshot_before(harness.history, "b")
    assert harness.runner.fork(target.config, {"text": "x"}, "human", thread_id=7)["log"] == ["a", "b", "c"]
    assert (harness.head, harness.history) == state_before
    forked = list(harness.runner.get_state_history(config_for("7")))
    assert [(s.metadata or {})["step"] for s in forked] == [5, 4, 3]
    assert forked[-1].parent_config == target.config
    assert (forked[-1].metadata or {})["forked_from"] == target.config["configurable"]
    assert all("forked_from" not in (s.metadata or {}) for s in forked[:-1])
    assert not {s.checkpoint_id for s in forked} & {s.checkpoint_id for s in state_before[1]}
    with pytest.raises(ThreadError, match="There is a thread '7' already"):
        harness.runner.fork(target.config, thread_id="7")


def test_a_fork_of_the_head_runs_its_tasks_again_on_a_new_thread() -> None:
    """A fork without a checkpoint id starts at the head and runs all its tasks again, finished ones too."""
    harness = Harness(*PARALLEL)
    harness.run("b")
    assert harness.runner.fork(THREAD, thread_id="t2")["log"] == ["a", "b", "c", "d"]
    assert harness.runs == {"a": 2, "b": 2, "c": 2, "d": 1}
    assert harness.head.next == ("b",)


def test_the_parents_of_a_fork_of_a_fork_lead_back_to_the_first_input() -> None:
    """A fork may start from a checkpoint of any thread and any run."""
    harness = Harness(*CHAIN)
    harness.run()
    harness.runner.fork(harness.at("b"), thread_id="t2")
    config = snapshot_before(list(harness.runner.get_state_history(config_for("t2"))), "c").config
    harness.runner.fork(config, thread_id="t3")
    steps, at = [], harness.runner.get_state(config_for("t3"))
    while at.parent_config is not None:
        steps.append((at.metadata or {})["step"])
        at = harness.runner.get_state(at.parent_config)
    assert steps == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("operation", "kind", "message"),
    [
        (lambda r: r.invoke(None, config_for("new", "x")), EmptyInputError, "nothing to run again"),
        (lambda r: r.fork(config_for("new")), EmptyInputError, "nothing to run again"),
        (lambda r: r.fork(config_for("new"), thread_id="t9"), EmptyInputError, "no checkpoint to fork"),
        (lambda r: r.fork(config_for("t1", "x")), CheckpointNotFoundError, "no checkpoint 'x'"),
        (lambda r: r.invoke(None, config_for("t1", "x")), CheckpointNotFoundError, "no checkpoint 'x'"),
        (lambda r: r.update_state(config_for("t1", "x"), {}), CheckpointNotFoundError, "no checkpoint 'x'"),
        (lambda r: r.update_state(THREAD, {"txt": ""}), InvalidInputError, "Did you mean 'text'?"),
        (lambda r: r.update_state(THREAD, {"text": 7}), InvalidInputError, "'text' is declared str"),
        (lambda r: r.update_state(THREAD, 7), InvalidInputError, "must be a mapping"),
    ],
)
def test_invalid_replays_forks_and_updates_are_refused(operation: Any, kind: type[Exception], message: str) -> None:
    """A refused replay, fork or update neither changes the thread nor makes a checkpoint without a parent."""
    harness = Harness(*CHAIN)
    harness.run()
    history_before = harness.history
    with pytest.raises(kind, match=message):
        operation(harness.runner)
    assert harness.history == history_before
    assert harness.runner.invoke(None, THREAD)["log"] == ["a", "b", "c"]


def test_a_replay_has_the_full_recursion_limit() -> None:
    """The super-steps of the earlier branch do not count towards the recursion limit of a replay."""
    harness = Harness("START > a", "a", {"a": lambda state: "a" if len(state["log"]) < 3 else END})
    config = {**THREAD, "recursion_limit": 3}
    assert harness.runner.invoke({}, config)["log"] == ["a", "a", "a"]
    first = harness.history[-2].config["configurable"]
    assert harness.runner.invoke(None, {"configurable": first, "recursion_limit": 3})["log"] == ["a", "a", "a"]


async def test_commands_to_a_running_thread_are_applied_between_super_steps_in_order() -> None:
    """Commands never change values while nodes run, and a refused command does not fail the run."""
    held, release = asyncio.Event(), asyncio.Event()
    seen_states: list[list[str]] = []

    async def hold(state: State) -> dict[str, Any]:
        held.set()
        await release.wait()
        seen_states.append(state.get("log", []))
        return {"log": ["hold"]}

    async def last(state: State) -> dict[str, Any]:
        seen_states.append(state["log"])
        return {"log": ["last"]}

    edges = "START > hold, hold > last, last > END"
    runner = MemoryRunner(build(State, edges, {"hold": hold, "last": last}).compile(name="g"))
    running = asyncio.ensure_future(runner.ainvoke({}, THREAD))
    await held.wait()
    updates = [
        asyncio.ensure_future(runner.aupdate_state(THREAD, {"log": [name]}, as_node="human")) for name in ("1", "2")
    ]
    refused = asyncio.ensure_future(runner.aupdate_state(config_for("t1", "x"), {}, as_node="human"))
    with pytest.raises(InvalidUpdateError, match="no node 'nobody'"):
        await runner.aupdate_state(THREAD, {}, as_node="nobody")
    with pytest.raises(ThreadBusyError, match="is running"):
        await runner.ainvoke({}, THREAD)
    joined = asyncio.ensure_future(runner.ainvoke(None, THREAD))
    await asyncio.sleep(0)
    assert not any(update.done() for update in updates)
    release.set()
    assert (await running)["log"] == (await joined)["log"] == ["hold", "1", "2", "last"]
    assert [(await update)["configurable"]["checkpoint_id"] for update in updates] == [
        "run-0001.000004",
        "run-0001.000005",
    ]
    with pytest.raises(CheckpointNotFoundError):
        await refused
    assert seen_states == [[], ["hold", "1", "2"]]
