"""Updates, forks and replays: whose name they bear, what they keep, and what runs after them."""

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
from tests.core.graphs import THREAD, draw


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    text: str


class Stage:
    """Nodes that log their names, count their runs and fail when told to; a runner for the graph drawn of them."""

    def __init__(self, edges: str, nodes: str, routes: dict[str, Any] | None = None, **options: Any) -> None:
        self.runs: Counter[str] = Counter()
        self.failing: set[str] = set()
        builder = draw(State, edges, {name: self._node(name) for name in nodes.split()})
        for source, router in (routes or {}).items():
            builder.add_conditional_edges(source, router)
        self.runner = MemoryRunner(builder.compile(name="g", **options))

    def _node(self, name: str) -> Any:
        def node(state: State) -> dict[str, Any]:
            self.runs[name] += 1
            if name in self.failing:
                raise ConnectionError(f"{name} is down")
            return {"log": [name]}

        return node

    def run(self, *failing: str) -> None:
        """Runs the thread; a node of it fails where one is named."""
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
        """The config of the newest checkpoint after which these run."""
        return before(self.history, *next).config


def before(history: list[StateSnapshot], *nodes: str) -> StateSnapshot:
    """The newest checkpoint after which these nodes run."""
    return next(snapshot for snapshot in history if snapshot.next == nodes)


LINE = ("START > a, a > b, b > c, c > END", "a b c")
FAN = ("START > a, START > b, START > c, a+b+c > d, d > END", "a b c d")


def test_an_update_is_a_checkpoint_of_its_own_and_runs_nothing() -> None:
    """It is the head; its parent is the addressed checkpoint, and its values went through the reducers."""
    stage = Stage(*LINE)
    stage.run()
    was = stage.history
    target = before(was, "b")
    made = stage.runner.update_state(target.config, {"log": ["x"], "text": "t"}, as_node="a")
    head = stage.head
    assert head.config == made
    assert head.values == {"log": ["a", "x"], "text": "t"}
    assert head.metadata == {"source": "update", "step": 3, "writes": {"a": {"log": ["x"], "text": "t"}}}
    assert (head.next, head.parent_config) == (("b",), target.config)
    assert stage.history[1:] == was
    assert stage.runs == {"a": 1, "b": 1, "c": 1}
    assert stage.runner.invoke(None, THREAD)["log"] == ["a", "x", "b", "c"]


def test_an_update_without_a_name_is_the_last_writers() -> None:
    """At the head, at an older checkpoint, and on a thread that does not exist yet: there it is the input's."""
    stage = Stage(*LINE)
    stage.runner.update_state(THREAD, {"text": "in"})
    assert (stage.head.next, stage.head.values, stage.head.parent_config) == (("a",), {"text": "in", "log": []}, None)
    assert stage.runner.invoke(None, THREAD)["log"] == ["a", "b", "c"]
    stage.runner.update_state(stage.at("b"), {"text": "x"})
    assert (stage.head.next, list((stage.head.metadata or {})["writes"])) == (("b",), ["a"])
    stage.runner.update_state(THREAD, {"text": "y"})
    assert (stage.head.next, stage.head.values["text"]) == (("b",), "y")


def test_an_update_of_several_last_writers_is_ambiguous() -> None:
    """The error names them, and the mend; nothing is changed."""
    stage = Stage(*FAN)
    stage.run()
    was = stage.history
    with pytest.raises(InvalidUpdateError, match=r"ambiguous: 'a', 'b', 'c' wrote last\. .*as_node='\.\.\.'") as caught:
        stage.runner.update_state(stage.at("d"), {"text": "x"})
    assert caught.value.nodes == ["a", "b", "c"]
    assert stage.history == was
    stage.runner.update_state(stage.at("d"), {"text": "x"}, as_node="human")
    assert stage.head.next == ("d",)


def test_an_update_as_end_clears_what_runs_next() -> None:
    """The thread is finished then, and takes a new input like any other."""
    stage = Stage(*LINE)
    stage.run("b")
    stage.runner.update_state(THREAD, {"text": "enough"}, as_node=END)
    assert (stage.head.next, stage.head.values) == ((), {"log": ["a"], "text": "enough"})
    assert stage.runner.invoke(None, THREAD) == {"log": ["a"], "text": "enough"}
    assert stage.runner.invoke({}, THREAD)["log"] == ["a", "a", "b", "c"]


def test_an_update_as_start_runs_the_first_nodes_next() -> None:
    """As an input would, but for the checkpoint of the input."""
    stage = Stage(*LINE)
    stage.run()
    stage.runner.update_state(THREAD, {"text": "x"}, as_node=START)
    assert (stage.head.next, len(stage.history)) == (("a",), 6)


def test_an_unknown_author_is_refused_with_the_near_miss() -> None:
    """On an open thread and on a closed one alike."""
    stage = Stage("START > gather, gather > report, report > END", "gather report", authors=("editor",))
    stage.run()
    for wrong, told in (("reprot", "'report'"), ("editr", "'editor'")):
        with pytest.raises(InvalidUpdateError, match=rf"no node '{wrong}' .* Did you mean {told}\?"):
            stage.runner.update_state(THREAD, {"text": "x"}, as_node=wrong)
    with pytest.raises(InvalidUpdateError, match="no node 'human'"):
        stage.runner.update_state(THREAD, {"text": "x"}, as_node="human")
    stage.runner.update_state(THREAD, {"text": "x"}, as_node="editor")
    assert stage.head.values["text"] == "x"


def test_the_edges_and_routers_of_the_author_say_what_runs_next() -> None:
    """A router sees the values with the update; the run has not begun when it is asked."""
    seen: list[State] = []

    def route(state: State) -> str:
        seen.append(state)
        return "left" if state.get("text") == "left" else "right"

    stage = Stage("START > a, left > END, right > END", "a left right", {"a": route})
    stage.run()
    stage.runner.update_state(stage.at("right"), {"text": "left", "log": ["x"]}, as_node="a")
    assert stage.head.next == ("left",)
    assert seen[-1] == {"log": ["a", "x"], "text": "left"}
    assert stage.runs == {"a": 1, "right": 1}


def test_a_router_that_fails_refuses_the_update() -> None:
    """It is an error of its node, and of the router's own type; the thread is as it was."""

    def route(state: State) -> str:
        if state.get("text") == "bad":
            raise ConnectionError("no map")
        return END

    stage = Stage("START > a", "a", {"a": route})
    stage.run()
    was = stage.history
    with pytest.raises(ConnectionError, match=r"A router of node 'a' failed: ConnectionError: no map\.") as caught:
        stage.runner.update_state(THREAD, {"text": "bad"}, as_node="a")
    assert isinstance(caught.value, NodeError)
    assert stage.history == was


def test_an_update_counts_towards_a_join() -> None:
    """A join under way at the addressed checkpoint is under way after it, too."""
    stage = Stage("START > a, START > x, x > b, a+b > c, c > END", "a b c x")
    stage.run()
    stage.runner.update_state(stage.at("b"), {"text": "t"}, as_node="b")
    assert stage.head.next == ("c",)


def test_a_virtual_author_changes_values_and_nothing_else() -> None:
    """What runs next stays; so do the results and the errors of the tasks at the head."""
    stage = Stage(*FAN)
    stage.run("b")
    failed = stage.head
    stage.runner.update_state(THREAD, {"text": "x"}, as_node="human")
    assert (stage.head.next, stage.head.tasks) == (failed.next, failed.tasks)
    assert stage.head.metadata == {"source": "update", "step": 2, "writes": {"human": {"text": "x"}}}
    assert stage.runner.invoke(None, THREAD) == {"log": ["a", "b", "c", "d"], "text": "x"}
    assert stage.runs == {"a": 1, "b": 2, "c": 1, "d": 1}


def test_an_update_as_a_pending_node_is_its_result() -> None:
    """Its siblings keep theirs; the last one commits the super-step, which is then an update's checkpoint."""
    stage = Stage(*FAN)
    stage.run("a", "b")
    was = stage.head
    assert stage.runner.update_state(THREAD, {"log": ["by hand"]}, as_node="b") == was.config
    assert (stage.head.next, stage.head.values) == (("a",), {"log": ["by hand", "c"]})
    assert [(task.name, task.error, task.result) for task in stage.head.tasks] == [
        ("a", "ConnectionError: a is down", None),
        ("b", None, {"log": ["by hand"]}),
        ("c", None, {"log": ["c"]}),
    ]
    stage.runner.update_state(THREAD, {}, as_node="a")
    assert (stage.head.next, stage.head.values) == (("d",), {"log": ["by hand", "c"]})
    assert stage.head.metadata == {
        "source": "update",
        "step": 2,
        "writes": {"a": None, "b": {"log": ["by hand"]}, "c": {"log": ["c"]}},
    }
    assert stage.head.parent_config == was.config
    assert stage.runner.invoke(None, THREAD)["log"] == ["by hand", "c", "d"]
    assert stage.runs == {"a": 1, "b": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("elsewhere", [None, "t2"])
def test_an_update_as_a_node_that_was_pending_keeps_its_siblings_results(elsewhere: str | None) -> None:
    """Also at a checkpoint that the thread has left behind, and on a new thread."""
    stage = Stage(*FAN)
    stage.run("a", "b")
    left = stage.head.config
    stage.run()
    was, config = stage.history, THREAD
    if elsewhere is None:
        stage.runner.update_state(left, {"log": ["by hand"]}, as_node="b")
        assert (stage.head.next, stage.head.parent_config, stage.history[1:]) == (("a",), left, was)
        stage.runner.invoke(None, THREAD)
    else:
        config = config_for(elsewhere)
        stage.runner.fork(left, {"log": ["by hand"]}, as_node="b", thread_id=elsewhere)
    assert stage.runner.get_state(config).values["log"] == ["a", "by hand", "c", "d"]
    assert stage.runs == {"a": 3, "b": 2, "c": 2, "d": 2}


def test_the_last_pending_node_of_a_checkpoint_left_behind_commits_it() -> None:
    """On a branch of its own."""
    stage = Stage(*FAN)
    stage.run("b")
    left = stage.head.config
    stage.run()
    stage.runner.update_state(left, {"log": ["by hand"]}, as_node="b")
    assert (stage.head.values, stage.head.next) == ({"log": ["a", "by hand", "c"]}, ("d",))
    assert ((stage.head.metadata or {})["source"], stage.head.parent_config) == ("update", left)


@pytest.mark.parametrize("elsewhere", [None, "t2"])
def test_a_virtual_author_leaves_the_results_of_finished_nodes_as_they_are(elsewhere: str | None) -> None:
    """Also at a checkpoint that the thread has left behind, and on a new thread; only what was still to run is run."""
    stage = Stage(*FAN)
    stage.run("a", "b")
    left = stage.head
    stage.run()
    stage.runs.clear()
    if elsewhere is None:
        stage.runner.update_state(left.config, {"text": "noted"}, as_node="human")
        assert (stage.head.next, stage.head.values) == (("a", "b"), {"log": ["c"], "text": "noted"})
        assert [task.result for task in stage.head.tasks] == [None, None, {"log": ["c"]}]
        stage.runner.invoke(None, THREAD)
    else:
        stage.runner.fork(left.config, {"text": "noted"}, as_node="human", thread_id=elsewhere)
    values = stage.runner.get_state(config_for(elsewhere or "t1")).values
    assert values == {"log": ["a", "b", "c", "d"], "text": "noted"}
    assert stage.runs == {"a": 1, "b": 1, "d": 1}


def test_a_virtual_author_at_a_finished_super_step_has_all_of_it_run_again() -> None:
    """What its tasks wrote is in the checkpoint after it, on a branch that is left as it was."""
    stage = Stage(*FAN)
    stage.run()
    stage.runner.update_state(stage.at("a", "b", "c"), {"text": "noted"}, as_node="human")
    assert (stage.head.next, stage.head.values) == (("a", "b", "c"), {"log": [], "text": "noted"})
    stage.runner.invoke(None, THREAD)
    assert stage.runs == {"a": 2, "b": 2, "c": 2, "d": 2}


def test_a_question_that_was_left_behind_waits_again_after_a_virtual_author() -> None:
    """As it does at the head; what finished beside it is not run again."""
    ran: list[str] = []

    def beside(state: State) -> dict[str, Any]:
        ran.append("b")
        return {"log": ["b"]}

    nodes = {"ask": lambda state: {"log": [interrupt("?")]}, "b": beside}
    runner = MemoryRunner(draw(State, "START > ask, START > b, ask > END, b > END", nodes).compile(name="g"))
    (asked,) = runner.invoke({}, THREAD)["__interrupt__"]
    left = runner.get_state(THREAD).config
    runner.invoke({}, THREAD)
    runner.update_state(left, {"text": "noted"}, as_node="human")
    assert runner.get_state(THREAD).interrupts == (asked,)
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
def test_an_update_at_an_input_that_was_not_taken_adds_to_it(
    values: dict[str, Any], as_node: str | None, expected: dict[str, Any]
) -> None:
    """Its router failed, say, and is asked again. Only in the start's own name does the update replace the input."""

    def entry(state: State) -> str:
        return {"right": "a"}[state["text"]]

    stage = Stage("a > END", "a", {START: entry})
    with pytest.raises(KeyError):
        stage.runner.invoke({"log": ["in"], "text": "wrong"}, THREAD)
    stage.runner.update_state(THREAD, values, as_node=as_node)
    assert stage.head.next == ("a",)
    assert stage.runner.invoke(None, THREAD) == expected


def test_an_update_at_the_checkpoint_of_an_earlier_input_adds_to_it() -> None:
    """On a branch of its own."""
    stage = Stage(*LINE)
    stage.runner.invoke({"log": ["in"], "text": "first"}, THREAD)
    stage.runner.update_state(stage.at(START), {"text": "second"})
    assert (stage.head.next, stage.head.values) == (("a",), {"log": ["in"], "text": "second"})
    assert (stage.head.metadata or {})["writes"] == {START: {"log": ["in"], "text": "second"}}


def test_updates_made_together_as_pending_nodes_are_their_results() -> None:
    """The sibling that finished keeps its own here, too."""
    stage = Stage(*FAN)
    stage.run("a", "b")
    stage.runner.bulk_update_state(THREAD, [[({"log": ["A"]}, "a"), ({"log": ["B"]}, "b")]])
    assert (stage.head.next, stage.head.values) == (("d",), {"log": ["A", "B", "c"]})


def test_a_pending_node_that_is_updated_need_not_run() -> None:
    """On resume only its siblings do, and the commit is a loop's."""
    stage = Stage(*FAN)
    stage.run("a", "b")
    stage.runner.update_state(THREAD, {"log": ["by hand"]}, as_node="b")
    assert stage.runner.invoke(None, THREAD)["log"] == ["a", "by hand", "c", "d"]
    assert stage.runs == {"a": 2, "b": 1, "c": 1, "d": 1}
    assert [(s.metadata or {})["source"] for s in stage.history] == ["loop", "loop", "loop", "input"]


def test_a_result_given_by_hand_that_cannot_be_committed_is_taken_back() -> None:
    """The siblings' results and the node's own error are as before: another one may be given."""
    stage = Stage("START > a, START > b, a+b > c, c > END", "a b c")
    stage.run("b")
    failed = stage.head

    def refuse(left: Any, right: Any) -> Any:
        raise ValueError("no more")

    channel = stage.runner.graph.registry.schema.channels["log"]
    object.__setattr__(channel, "reducer", refuse)
    with pytest.raises(ReducerError, match="no more"):
        stage.runner.update_state(THREAD, {"log": ["x"]}, as_node="b")
    object.__setattr__(channel, "reducer", add)
    assert (stage.head.next, stage.head.tasks) == (failed.next, failed.tasks)
    stage.runner.update_state(THREAD, {"log": ["y"]}, as_node="b")
    assert stage.head.values["log"] == ["a", "y"]


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
def test_a_bulk_of_updates_is_made_whole_or_not_at_all(supersteps: Any) -> None:
    """Values, history, pending results and errors are as they were, and the thread goes on as it would have."""
    stage = Stage(*FAN)
    stage.run("b", "c")
    was = stage.head, stage.history
    with pytest.raises(InvalidUpdateError):
        stage.runner.bulk_update_state(THREAD, supersteps)
    assert (stage.head, stage.history) == was
    assert stage.runner.invoke(None, THREAD)["log"] == ["a", "b", "c", "d"]
    assert stage.runs == {"a": 1, "b": 2, "c": 2, "d": 1}


def test_a_bulk_of_updates_is_a_checkpoint_for_each_super_step() -> None:
    """Updates of one super-step are made together, in the order given; an empty bulk is refused."""
    stage = Stage(*LINE)
    stage.run()
    stage.runner.bulk_update_state(THREAD, [[({"log": ["2"]}, "b"), ({"log": ["1"]}, "a")], [({"text": "x"}, "human")]])
    assert [((s.metadata or {})["writes"], s.next) for s in stage.history[:2]] == [
        ({"human": {"text": "x"}}, ("b", "c")),
        ({"b": {"log": ["2"]}, "a": {"log": ["1"]}}, ("b", "c")),
    ]
    assert stage.head.values == {"log": ["a", "b", "c", "2", "1"], "text": "x"}
    for empty in ([], [[]]):
        with pytest.raises(InvalidInputError, match="at least one super-step"):
            stage.runner.bulk_update_state(THREAD, empty)


def test_a_replay_runs_again_all_that_comes_next() -> None:
    """A fork checkpoint whose parent is the addressed one becomes the head; the old branch stays as it is."""
    stage = Stage(*LINE)
    stage.run()
    was = stage.history
    target = before(was, "b")
    assert stage.runner.invoke(None, target.config)["log"] == ["a", "b", "c"]
    assert stage.runs == {"a": 1, "b": 2, "c": 2}
    fork = stage.history[2]
    assert (fork.metadata or {})["source"] == "fork"
    assert (fork.values, fork.next, fork.parent_config) == (target.values, ("b",), target.config)
    assert (fork.metadata or {})["step"] == (target.metadata or {})["step"] + 1
    assert stage.history[3:] == was


def test_a_replay_at_the_head_runs_finished_tasks_again() -> None:
    """Where a resume would only run the one that failed."""
    stage = Stage(*FAN)
    stage.run("b")
    assert stage.runner.invoke(None, stage.head.config)["log"] == ["a", "b", "c", "d"]
    assert stage.runs == {"a": 2, "b": 2, "c": 2, "d": 1}


def test_a_replay_of_a_finished_head_runs_nothing() -> None:
    """There is nothing next; the fork is in the history all the same."""
    stage = Stage(*LINE)
    stage.run()
    assert stage.runner.invoke(None, stage.head.config)["log"] == ["a", "b", "c"]
    assert stage.runs == {"a": 1, "b": 1, "c": 1}
    assert (stage.head.metadata or {})["source"] == "fork"


def test_a_replay_of_the_input_gives_it_again() -> None:
    """From the first checkpoint, that is from before the input was applied."""
    stage = Stage(*LINE)
    stage.runner.invoke({"text": "in"}, THREAD)
    assert stage.runner.invoke(None, stage.history[-1].config) == {"log": ["a", "b", "c"], "text": "in"}
    assert stage.runs == {"a": 2, "b": 2, "c": 2}


def test_an_input_at_a_checkpoint_grows_from_there() -> None:
    """As a fork signed by START: the values so far are those of the checkpoint."""
    stage = Stage(*LINE)
    stage.run()
    assert stage.runner.invoke({"text": "x"}, stage.at("b")) == {"log": ["a", "a", "b", "c"], "text": "x"}


def test_a_fork_is_an_update_that_runs_on() -> None:
    """Its checkpoint says fork; whose name it bears decides what runs."""
    stage = Stage(*LINE)
    stage.run()
    assert stage.runner.fork(stage.at("b"), {"log": ["x"]}, as_node="b")["log"] == ["a", "x", "c"]
    assert stage.runs == {"a": 1, "b": 1, "c": 2}
    assert (stage.history[1].metadata or {}) == {"source": "fork", "step": 3, "writes": {"b": {"log": ["x"]}}}


def test_a_fork_on_a_new_thread_leaves_its_source_untouched() -> None:
    """Its lineage is in its metadata, and its history is its own; steps go on from the source's."""
    stage = Stage(*LINE)
    stage.run()
    was = stage.head, stage.history
    target = before(stage.history, "b")
    assert stage.runner.fork(target.config, {"text": "x"}, "human", thread_id=7)["log"] == ["a", "b", "c"]
    assert (stage.head, stage.history) == was
    forked = list(stage.runner.get_state_history(config_for("7")))
    assert [(s.metadata or {})["step"] for s in forked] == [5, 4, 3]
    assert forked[-1].parent_config == target.config
    assert (forked[-1].metadata or {})["forked_from"] == target.config["configurable"]
    assert all("forked_from" not in (s.metadata or {}) for s in forked[:-1])
    assert not {s.checkpoint_id for s in forked} & {s.checkpoint_id for s in was[1]}
    with pytest.raises(ThreadError, match="There is a thread '7' already"):
        stage.runner.fork(target.config, thread_id="7")


def test_a_fork_of_the_head_runs_again_on_a_new_thread() -> None:
    """Without a checkpoint id the head is meant, finished tasks and all."""
    stage = Stage(*FAN)
    stage.run("b")
    assert stage.runner.fork(THREAD, thread_id="t2")["log"] == ["a", "b", "c", "d"]
    assert stage.runs == {"a": 2, "b": 2, "c": 2, "d": 1}
    assert stage.head.next == ("b",)


def test_forks_of_forks_find_their_way_home() -> None:
    """A checkpoint of any thread, and of any run, can be grown from; the parents lead back to the first input."""
    stage = Stage(*LINE)
    stage.run()
    stage.runner.fork(stage.at("b"), thread_id="t2")
    config = before(list(stage.runner.get_state_history(config_for("t2"))), "c").config
    stage.runner.fork(config, thread_id="t3")
    steps, at = [], stage.runner.get_state(config_for("t3"))
    while at.parent_config is not None:
        steps.append((at.metadata or {})["step"])
        at = stage.runner.get_state(at.parent_config)
    assert steps == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("asked", "kind", "told"),
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
def test_what_cannot_be_grown_from_is_refused(asked: Any, kind: type[Exception], told: str) -> None:
    """Never a second root; the thread is as it was."""
    stage = Stage(*LINE)
    stage.run()
    was = stage.history
    with pytest.raises(kind, match=told):
        asked(stage.runner)
    assert stage.history == was
    assert stage.runner.invoke(None, THREAD)["log"] == ["a", "b", "c"]


def test_a_limit_is_granted_anew_to_a_fork() -> None:
    """However many super-steps the branch before it took."""
    stage = Stage("START > a", "a", {"a": lambda state: "a" if len(state["log"]) < 3 else END})
    config = {**THREAD, "recursion_limit": 3}
    assert stage.runner.invoke({}, config)["log"] == ["a", "a", "a"]
    first = stage.history[-2].config["configurable"]
    assert stage.runner.invoke(None, {"configurable": first, "recursion_limit": 3})["log"] == ["a", "a", "a"]


async def test_orders_take_effect_between_super_steps_in_the_order_of_their_arrival() -> None:
    """While a thread runs; nobody has its values change under them, and an order that is refused fails nothing."""
    held, release = asyncio.Event(), asyncio.Event()
    seen: list[list[str]] = []

    async def hold(state: State) -> dict[str, Any]:
        held.set()
        await release.wait()
        seen.append(state.get("log", []))
        return {"log": ["hold"]}

    async def last(state: State) -> dict[str, Any]:
        seen.append(state["log"])
        return {"log": ["last"]}

    edges = "START > hold, hold > last, last > END"
    runner = MemoryRunner(draw(State, edges, {"hold": hold, "last": last}).compile(name="g"))
    running = asyncio.ensure_future(runner.ainvoke({}, THREAD))
    await held.wait()
    updates = [
        asyncio.ensure_future(runner.aupdate_state(THREAD, {"log": [name]}, as_node="human")) for name in ("1", "2")
    ]
    refused = asyncio.ensure_future(runner.aupdate_state(config_for("t1", "x"), {}, as_node="human"))
    with pytest.raises(InvalidUpdateError, match="no node 'nobody'"):
        await runner.aupdate_state(THREAD, {}, as_node="nobody")
    with pytest.raises(ThreadBusyError, match="is running"):
        await runner.ainvoke(None, THREAD)
    await asyncio.sleep(0)
    assert not any(update.done() for update in updates)
    release.set()
    assert (await running)["log"] == ["hold", "1", "2", "last"]
    assert [(await update)["configurable"]["checkpoint_id"] for update in updates] == [
        "run-0001.000004",
        "run-0001.000005",
    ]
    with pytest.raises(CheckpointNotFoundError):
        await refused
    assert seen == [[], ["hold", "1", "2"]]
