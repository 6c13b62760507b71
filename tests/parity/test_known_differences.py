"""The differences between stepgraph and LangGraph that docs/semantics.md asks for.

Each test shows both behaviours; its docstring cites the section and the words that decide.
"""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError

from stepgraph import END, errors
from stepgraph.errors import CheckpointNotFoundError, NodeError
from tests.conftest import Stage
from tests.parity.cases import Cases, failing_once, nodes, observe_both
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, Library, ParityThread
from tests.parity.observations import ObservedInterrupt, Raised
from tests.parity.operations import answer, answer_each, invoke, replay, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


def _latest_two(left: list[str], right: list[str]) -> list[str]:
    return [*left, *right][-2:]


class Latest(TypedDict):
    latest: Annotated[list[str], _latest_two]


def _chain(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > c, c > END", **nodes("a b c"))


def _flaky(then: Any) -> Any:
    return failing_once(ConnectionError("no route"), then, after=0.2)


def _counted() -> Any:
    ran: list[int] = []

    def node(state: Count) -> dict[str, Any]:
        ran.append(1)
        return {"log": [f"run {len(ran)}"]}

    return node


@case(invoke({"latest": []}), answer("yes"))
def siblings_of_an_interrupt_with_a_custom_reducer(lib: Library) -> Any:
    def writes(name: str) -> Any:
        return lambda state: {"latest": [name]}

    edges = "START > a, START > b, START > c, a > END, b > END, c > END"
    return lib.build(Latest, edges, a=writes("a"), b=writes("b"), c=lambda state: {"latest": [lib.interrupt("go on?")]})


@case(invoke({"n": 1}, recursion_limit=2))
def exactly_as_many_steps_as_the_limit(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}))
def a_list_of_mappings(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > END", a=lambda s: [{"log": ["one"]}, {"log": ["two"], "n": 2}])


@case(invoke({"n": 1}), resume())
def a_failing_router(lib: Library) -> Any:
    errors = [LookupError("where to?")]

    def router(state: Count) -> str:
        if errors:
            raise errors.pop()
        return "z"

    return lib.build(Count, "START > a, z > END", **nodes("a z")).add_conditional_edges("a", router, ["z"])


@case(invoke({"n": 1}))
def a_router_to_an_unknown_node(lib: Library) -> Any:
    g = lib.build(Count, "START > a, z > END", **nodes("a z"))
    return g.add_conditional_edges("a", lambda s: "zz" if s["n"] else "z")


@case(invoke({"n": 1}), answer(None))
def an_answer_of_none(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [repr(lib.interrupt("?"))]})


@case(invoke({"n": 1}), update({"n": 5}, as_node="__end__", at=2))
def values_as_end(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update(None, as_node="__end__", at=2))
def end_at_an_earlier_checkpoint(lib: Library) -> Any:
    return _chain(lib)


@case(update({"n": 1}, as_node="a"), resume())
def an_update_of_a_new_thread(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="human", at=2), resume())
def an_update_as_a_human(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["by hand"]}, as_node="b"), resume())
def an_update_as_the_failed_sibling(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > z, z > END", a=_counted(), b=_flaky(None), **nodes("z"))


@case(invoke({"n": 1}), update({"log": ["by hand"]}, as_node="b"), resume(), resume())
def an_update_as_one_of_two_failed_siblings(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > a, START > b, START > c, a+b+c > z, z > END",
        **nodes("z"),
        a=_counted(),
        b=_flaky(None),
        c=_flaky({"log": ["c"]}),
    )


@case(invoke({"n": 1}))
def a_mistyped_key(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > END", a=lambda s: {"lgo": ["lost"]})


@case(invoke({"m": 1}))
def a_mistyped_input(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), answer("which?"))
def one_answer_for_two_interrupts(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > x, START > y, x > END, y > END",
        x=lambda s: {"log": [lib.interrupt("a")]},
        y=lambda s: {"log": [lib.interrupt("b")]},
    )


@case(invoke({"n": 1}))
def parallel_nodes_declared_out_of_order(lib: Library) -> Any:
    return lib.build(Count, "START > b, START > a, a > END, b > END", **nodes("b a"))


@case(invoke({"n": 1}), resume())
def a_node_that_fails_once(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > END", a=_flaky({"log": ["a"]}))


@case(invoke({"n": 1}))
def a_node_that_fails(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > END", a=_flaky(None))


@case(invoke({"n": 1}))
def two_writers_without_a_reducer(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a > END, b > END", a=lambda s: {"n": 2}, b=lambda s: {"n": 3})


@case(invoke({"n": 1}), update({"n": 7}, as_node="a"), answer("to the first"))
def an_answer_to_an_earlier_interrupt(lib: Library) -> Any:
    return lib.build(
        Count, "START > a, a > ask, ask > END", ask=lambda s: {"log": [lib.interrupt(s["n"])]}, **nodes("a")
    )


@case(invoke({"n": 1}), answer("one"), resume(), answer("two"))
def a_resume_between_two_interrupts(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt("1?"), lib.interrupt("2?")]})


@case(invoke({"n": 1}), answer("to nothing"))
def an_answer_without_an_interrupt(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), resume(), answer("x"))
def a_node_that_fails_and_then_interrupts(lib: Library) -> Any:
    errors = [ConnectionError("no route")]

    def node(state: Count) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        return {"log": [lib.interrupt("?")]}

    return lib.build(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), answer_each(which="kept"), resume())
def a_node_that_fails_before_it_interrupts_again(lib: Library) -> Any:
    runs: list[int] = []

    def node(state: Count) -> dict[str, Any]:
        runs.append(1)
        if len(runs) == 2:
            raise ConnectionError("no route")
        return {"log": [lib.interrupt("which")]}

    return lib.build(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), resume(), answer("yes"))
def a_node_that_counts_its_runs_and_interrupts(lib: Library) -> Any:
    runs: list[int] = []

    def node(state: Count) -> dict[str, Any]:
        runs.append(1)
        return {"log": [f"{lib.interrupt('?')}, run {len(runs)}"]}

    return lib.build(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), update({"n": 2}, as_node="a"), replay(5))
def a_replay_of_an_update(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(1, recursion_limit=1))
def a_replay_with_a_recursion_limit(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 0}, recursion_limit=3), resume(recursion_limit=3))
def a_resume_with_a_recursion_limit(lib: Library) -> Any:
    g = lib.build(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 20 else lib.END, ["a", lib.END])


@case(invoke({"n": 1, "log": ["in"]}), update({"n": 2}), resume())
def an_update_at_an_input_whose_router_failed(lib: Library) -> Any:
    g = lib.build(Count, "a > END", **nodes("a"))
    return g.add_conditional_edges(lib.START, lambda s: {2: "a"}[s["n"]], ["a"])


@case(invoke({"n": 1}), update({"log": ["x"]}, as_node="a"), update({"log": ["y"]}))
def an_update_after_an_update(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["by hand"]}, as_node="c", at=2), resume())
def an_update_as_the_target_of_a_join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > c, c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}), resume())
def a_slow_sibling_of_a_failed_node(lib: Library) -> Any:
    ran: list[int] = []

    async def slow(state: Count) -> dict[str, Any]:
        ran.append(1)
        await asyncio.sleep(0.5)
        return {"log": [f"run {len(ran)}"]}

    errors = [ConnectionError("no route")]

    async def quick(state: Count) -> None:
        if errors:
            await asyncio.sleep(0.1)
            raise errors.pop()

    return lib.build(Count, "START > a, START > b, a > END, b > END", a=slow, b=quick)


async def both_threads(name: str, stage: Stage) -> tuple[ParityThread, ParityThread]:
    """Return a thread of the case's graph in stepgraph, and one in LangGraph."""
    case = next(case for case in cases.all if case.name == name)
    graph = case.build(LANGGRAPH).compile(checkpointer=InMemorySaver())
    our_thread = ParityThread(STEPGRAPH, stage.use(stage.graphs[name]), stage.thread())
    return our_thread, ParityThread(LANGGRAPH, graph, {"configurable": {"thread_id": "t"}})


async def test_steps_count_from_zero_and_the_first_values_are_empty(stage: Stage) -> None:
    """The first checkpoint has step 0, source ``input``, writes `None` and values ``{}``.

    LangGraph counts from -1, shows zeros and has no ``writes``. Semantics, "Checkpoints": the table.
    """
    our_thread, their_thread = await both_threads("exactly_as_many_steps_as_the_limit", stage)
    for thread in (our_thread, their_thread):
        await thread.graph.ainvoke({"n": 1}, thread.config)
    ours, theirs = [(await thread.history())[::-1] for thread in (our_thread, their_thread)]
    assert [(each.metadata["step"], each.metadata["source"]) for each in ours] == [
        (0, "input"),
        (1, "loop"),
        (2, "loop"),
        (3, "loop"),
    ]
    assert [(each.metadata["step"], each.metadata["source"]) for each in theirs] == [
        (-1, "input"),
        (0, "loop"),
        (1, "loop"),
        (2, "loop"),
    ]
    assert (ours[0].values, theirs[0].values) == ({}, {"log": []})
    assert [each.metadata["writes"] for each in ours] == [
        None,
        {"__start__": {"n": 1}},
        {"a": {"log": ["a"]}},
        {"b": {"log": ["b"]}},
    ]
    assert all("writes" not in each.metadata for each in theirs)


async def test_tasks_are_listed_by_name(stage: Stage) -> None:
    """Tasks and `next` are sorted by name; LangGraph keeps the order of declaration.

    Semantics, "A super-step": "the triggered nodes, by name".
    """
    our_thread, their_thread = await both_threads("parallel_nodes_declared_out_of_order", stage)
    for thread, listed in ((our_thread, ("a", "b")), (their_thread, ("b", "a"))):
        returned = await thread.graph.ainvoke({"n": 1}, thread.config)
        assert returned["log"] == ["a", "b"]
        assert (await thread.history())[1].next == listed


async def test_a_finished_task_shows_no_error(stage: Stage) -> None:
    """A task that failed once and finished on resume has a result and no error; LangGraph keeps the error.

    Semantics, "Checkpoints": "a finished task shows its result, a failed one its error".
    """
    our_thread, their_thread = await both_threads("a_node_that_fails_once", stage)
    for thread in (our_thread, their_thread):
        with pytest.raises(ConnectionError):
            await thread.graph.ainvoke({"n": 1}, thread.config)
        await thread.graph.ainvoke(None, thread.config)
    (ours,), (theirs,) = [(await thread.history())[1].tasks for thread in (our_thread, their_thread)]
    assert (ours.result, ours.error) == ({"log": ["a"]}, None)
    assert (theirs.result, theirs.error) == ({"log": ["a"]}, "ConnectionError('no route')")


async def test_the_siblings_of_a_failed_node_finish(stage: Stage) -> None:
    """The siblings of a failed node finish, and their results are kept; LangGraph runs them again.

    Semantics, "Failure and resume": "its siblings finish; their results are kept".
    """
    ours, theirs = await observe_both(a_slow_sibling_of_a_failed_node, stage)
    assert ours.heads[0]["next"] == ("b",)
    assert ours.returned == [Raised("ConnectionError"), {"n": 1, "log": ["run 1"]}]
    assert theirs.heads[0]["next"] == ("a", "b")
    assert theirs.returned == [Raised("ConnectionError"), {"n": 1, "log": ["run 2"]}]


async def test_a_failure_is_a_node_error_and_of_the_nodes_exception_type(stage: Stage) -> None:
    """stepgraph combines `NodeError` with the node's exception type; LangGraph raises the node's exception itself.

    Semantics, "Failure and resume": "an error that is both a `NodeError` ... and ... the node's own exception type".
    """
    our_thread, their_thread = await both_threads("a_node_that_fails", stage)
    with pytest.raises(ConnectionError, match="no route") as ours:
        await our_thread.graph.ainvoke({"n": 1}, our_thread.config)
    with pytest.raises(ConnectionError, match="no route") as theirs:
        await their_thread.graph.ainvoke({"n": 1}, their_thread.config)
    assert isinstance(ours.value, NodeError)
    assert ours.value.parts["node"] == "a"
    assert type(theirs.value) is ConnectionError


async def test_a_run_may_take_as_many_super_steps_as_its_limit(stage: Stage) -> None:
    """LangGraph raises `GraphRecursionError` for a graph that finishes in exactly its limit of super-steps.

    Semantics, "A super-step": "`recursion_limit` super-steps per invoke".
    """
    ours, theirs = await observe_both(exactly_as_many_steps_as_the_limit, stage)
    assert ours.returned == [{"n": 1, "log": ["a", "b"]}]
    assert theirs.returned == [Raised("GraphRecursionError")]
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


async def test_a_node_may_return_a_list_of_mappings(stage: Stage) -> None:
    """LangGraph accepts only a list of commands from a node.

    Semantics, "A super-step": "a mapping of channels, `None` (no write), or a list of these".
    """
    ours, theirs = await observe_both(a_list_of_mappings, stage)
    assert ours.returned == [{"n": 2, "log": ["one", "two"]}]
    assert theirs.returned == [Raised("InvalidUpdateError")]


async def test_a_node_whose_router_failed_has_not_finished(stage: Stage) -> None:
    """A resume runs the node and its router again; LangGraph takes the node as finished and loses its destination.

    Semantics, "Failure and resume": "only unfinished tasks run".
    """
    ours, theirs = await observe_both(a_failing_router, stage)
    assert ours.returned == [Raised("LookupError"), {"n": 1, "log": ["a", "z"]}]
    assert theirs.returned == [Raised("LookupError"), {"n": 1, "log": ["a"]}]


async def test_a_router_may_not_lead_to_an_unknown_node(stage: Stage) -> None:
    """LangGraph ends the run without an error if a router returns an unknown node.

    Semantics, "A super-step": "An unknown destination is an error of that node".
    """
    ours, theirs = await observe_both(a_router_to_an_unknown_node, stage)
    assert ours.returned == [Raised("InvalidUpdateError")]
    assert ours.heads[0]["next"] == ("a",)
    assert theirs.returned == [{"n": 1, "log": ["a"]}]


async def test_a_node_may_not_write_an_unknown_key(stage: Stage) -> None:
    """LangGraph ignores an unknown key in a node's writes.

    Semantics, "A super-step": "An unknown key is an error naming the near miss, not silence".
    """
    ours, theirs = await observe_both(a_mistyped_key, stage)
    assert ours.returned == [Raised("InvalidUpdateError")]
    assert theirs.returned == [{"n": 1, "log": []}]


async def test_an_input_may_not_have_an_unknown_key(stage: Stage) -> None:
    """LangGraph ignores an unknown key in an input.

    Semantics, "A super-step": "An unknown key is an error". The rule holds for an input as for a node's writes.
    """
    ours, theirs = await observe_both(a_mistyped_input, stage)
    assert ours.returned == [Raised("InvalidInputError")]
    assert ours.history == []
    assert theirs.returned == [{"log": ["a", "b", "c"]}]


async def test_none_is_an_answer(stage: Stage) -> None:
    """LangGraph raises an `UnboundLocalError` for `Command(resume=None)`.

    Semantics, "Waiting for people": "one value, or a map from interrupt id". The value may be any JSON.
    """
    ours, theirs = await observe_both(an_answer_of_none, stage)
    assert ours.returned[-1] == {"n": 1, "log": ["None"]}
    assert theirs.returned[-1] == Raised("UnboundLocalError")


async def test_a_later_interrupt_never_takes_an_answer_to_an_earlier_one(stage: Stage) -> None:
    """An update removed the interrupt, so the answer is refused; LangGraph gives it to the next interrupt.

    Semantics, "Waiting for people": "a second interrupt never takes the first one's answer".
    """
    ours, theirs = await observe_both(an_answer_to_an_earlier_interrupt, stage)
    assert ours.returned[-1] == Raised("InvalidUpdateError")
    assert ours.heads[-1]["next"] == ("ask",)
    assert theirs.returned[-1] == {"n": 7, "log": ["a", "to the first"]}


async def test_a_resume_answers_no_interrupt(stage: Stage) -> None:
    """LangGraph answers a second interrupt with the first answer when it is resumed without one.

    Semantics, "Waiting for people": "a second interrupt never takes the first one's answer".
    """
    ours, theirs = await observe_both(a_resume_between_two_interrupts, stage)
    assert ours.returned[2] == {"n": 1, "log": [], "__interrupt__": [ObservedInterrupt("2?")]}
    assert ours.returned[3] == {"n": 1, "log": ["one", "two"]}
    assert theirs.returned[2] == {"n": 1, "log": ["one", "one"]}


async def test_an_answer_without_an_interrupt_is_refused(stage: Stage) -> None:
    """LangGraph ignores an answer if no interrupt waits.

    Semantics, "Waiting for people": an answer belongs to one interrupt.
    """
    ours, theirs = await observe_both(an_answer_without_an_interrupt, stage)
    assert ours.returned[-1] == Raised("InvalidUpdateError")
    assert theirs.returned[-1] == {"n": 1, "log": ["a", "b", "c"]}
    assert ours.history == theirs.history


async def test_a_waiting_task_shows_its_interrupt_and_no_earlier_error(stage: Stage) -> None:
    """LangGraph shows a waiting task with the error of its earlier run as well.

    Semantics, "Waiting for people": "the task shows the interrupt".
    """
    ours, theirs = await observe_both(a_node_that_fails_and_then_interrupts, stage)
    assert ours.returned == theirs.returned
    assert ours.history == theirs.history
    assert ours.heads[1]["tasks"] == [
        {"name": "ask", "result": None, "error": None, "interrupts": [ObservedInterrupt("?")]}
    ]
    assert theirs.heads[1]["tasks"][0]["error"] == "ConnectionError"


async def test_an_answer_is_not_lost_when_its_node_fails(stage: Stage) -> None:
    """A node that fails after it was answered has the answer on resume; LangGraph interrupts again.

    Semantics, "Waiting for people": "a map from interrupt id" answers an interrupt for good.
    """
    ours, theirs = await observe_both(a_node_that_fails_before_it_interrupts_again, stage)
    assert ours.returned[1:] == [Raised("ConnectionError"), {"n": 1, "log": ["kept"]}]
    assert theirs.returned[1:] == [
        Raised("ConnectionError"),
        {"n": 1, "log": [], "__interrupt__": [ObservedInterrupt("which")]},
    ]


async def test_a_resume_runs_no_waiting_node(stage: Stage) -> None:
    """LangGraph resumes a waiting thread by running the node, to have it interrupt again.

    Semantics, "Waiting for people": "the thread waits".
    """
    ours, theirs = await observe_both(a_node_that_counts_its_runs_and_interrupts, stage)
    assert (
        ours.returned[:2] == theirs.returned[:2] == [{"n": 1, "log": [], "__interrupt__": [ObservedInterrupt("?")]}] * 2
    )
    assert ours.returned[2] == {"n": 1, "log": ["yes, run 2"]}
    assert theirs.returned[2] == {"n": 1, "log": ["yes, run 3"]}


async def test_a_replay_of_an_update_makes_a_fork_checkpoint(stage: Stage) -> None:
    """LangGraph makes no fork checkpoint for a replay of an update.

    Semantics, "Time travel": "a `fork` checkpoint (parent: the addressed one, step + 1) becomes the head".
    """
    ours, theirs = await observe_both(a_replay_of_an_update, stage)
    assert ours.returned == theirs.returned
    assert [each["source"] for each in ours.history[:4]] == ["loop", "loop", "fork", "update"]
    assert [each["source"] for each in theirs.history[:4]] == ["loop", "loop", "update", "loop"]


async def test_a_replay_takes_no_more_super_steps_than_its_limit(stage: Stage) -> None:
    """LangGraph takes one super-step more than the limit in a replay.

    Semantics, "A super-step": "`recursion_limit` super-steps per invoke".
    """
    ours, theirs = await observe_both(a_replay_with_a_recursion_limit, stage)
    assert ours.returned[-1] == theirs.returned[-1] == Raised("GraphRecursionError")
    assert ours.heads[-1]["next"] == ("b",)
    assert theirs.heads[-1]["next"] == ("c",)


async def test_a_resume_takes_no_more_super_steps_than_its_limit(stage: Stage) -> None:
    """LangGraph takes two super-steps more than the limit in a resume.

    Semantics, "A super-step": "`recursion_limit` super-steps per invoke".
    """
    ours, theirs = await observe_both(a_resume_with_a_recursion_limit, stage)
    assert ours.returned == theirs.returned == [Raised("GraphRecursionError")] * 2
    assert [head["values"]["n"] for head in ours.heads] == [3, 6]
    assert [head["values"]["n"] for head in theirs.heads] == [3, 8]


async def test_an_update_keeps_an_unapplied_input(stage: Stage) -> None:
    """LangGraph drops an input whose router failed when an update follows; stepgraph keeps it.

    Semantics, "Time travel": an update "applies `values`" and removes nothing.
    """
    ours, theirs = await observe_both(an_update_at_an_input_whose_router_failed, stage)
    assert ours.returned == [Raised("KeyError"), None, {"n": 2, "log": ["in", "a"]}]
    assert theirs.returned == [Raised("KeyError"), None, {"n": 2, "log": ["a"]}]


async def test_the_author_of_an_update_is_the_last_writer_for_the_next_update(stage: Stage) -> None:
    """LangGraph signs an update after an update with the last node that ran.

    Semantics, "Time travel": "`as_node` omitted: the last writer".
    """
    ours, theirs = await observe_both(an_update_after_an_update, stage)
    assert ours.history[0]["values"] == theirs.history[0]["values"]
    assert ours.heads[-1]["next"] == ("b",)
    assert theirs.heads[-1]["next"] == ()


async def test_an_update_as_the_target_of_a_join_stands_for_its_run(stage: Stage) -> None:
    """LangGraph runs the target of a complete join once more after an update in its name, beside what it leads to.

    Behind a plain edge, LangGraph does not. Semantics, "Time travel": "An update in the name of that target stands for
    its run".
    """
    ours, theirs = await observe_both(an_update_as_the_target_of_a_join, stage)
    assert ours.heads[-2]["next"] == ("z",)
    assert ours.returned[-1]["log"] == ["a", "b", "by hand", "z"]
    assert theirs.heads[-2]["next"] == ("c", "z")
    assert theirs.returned[-1]["log"] == ["a", "b", "by hand", "c", "z", "z"]


async def test_one_answer_to_two_interrupts_is_refused_with_different_errors(stage: Stage) -> None:
    """Both libraries refuse one answer for two interrupts and leave the thread as it is; the exception types differ.

    Semantics, "Waiting for people": "one value, or a map from interrupt id".
    """
    ours, theirs = await observe_both(one_answer_for_two_interrupts, stage)
    assert ours.returned[-1] == Raised("InvalidUpdateError")
    assert theirs.returned[-1] == Raised("RuntimeError")
    assert ours.heads == theirs.heads
    assert [task["interrupts"] for task in ours.heads[-1]["tasks"]] == [
        [ObservedInterrupt("a")],
        [ObservedInterrupt("b")],
    ]


async def test_an_update_as_end_may_have_values(stage: Stage) -> None:
    """LangGraph refuses values in an update as END.

    Semantics, "Time travel": "`as_node=END` clears `next`"; the values are applied as in any update.
    """
    ours, theirs = await observe_both(values_as_end, stage)
    assert ours.returned[-1] is None
    assert (ours.history[0]["values"], ours.history[0]["next"]) == ({"n": 5, "log": ["a"]}, ())
    assert theirs.returned[-1] == Raised("InvalidUpdateError")


async def test_an_update_as_end_clears_next_at_an_earlier_checkpoint(stage: Stage) -> None:
    """LangGraph updates an earlier checkpoint as END by applying its tasks' writes and continuing after them.

    Semantics, "Time travel": "`as_node=END` clears `next`".
    """
    ours, theirs = await observe_both(end_at_an_earlier_checkpoint, stage)
    assert (ours.history[0]["values"]["log"], ours.history[0]["next"]) == (["a"], ())
    assert (theirs.history[0]["values"]["log"], theirs.history[0]["next"]) == (["a", "b"], ("c",))


async def test_the_first_checkpoint_of_an_updated_thread_has_step_zero(stage: Stage) -> None:
    """LangGraph skips the step number of the input if an update makes the first checkpoint.

    Semantics, "Checkpoints": the first checkpoint of a thread has step 0.
    """
    ours, theirs = await observe_both(an_update_of_a_new_thread, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == [{**each, "step": each["step"] - 1} for each in theirs.history]
    assert ours.history[-1]["step"] == 0


async def test_a_virtual_author_may_sign_an_update(stage: Stage) -> None:
    """LangGraph accepts only nodes as authors of an update.

    Semantics, "Time travel": "values change, `next` does not".
    """
    ours, theirs = await observe_both(an_update_as_a_human, stage)
    assert ours.heads[1]["next"] == ("b",)
    assert ours.returned[1:] == [None, {"n": 1, "log": ["a", "hand", "b", "c"]}]
    assert theirs.returned[1] == Raised("InvalidUpdateError")


async def test_an_update_as_a_pending_task_keeps_its_siblings_results(stage: Stage) -> None:
    """LangGraph drops the results of finished siblings when an update is signed by a pending node.

    Semantics, "Time travel": "finished siblings keep theirs ... (LangGraph drops the siblings' results here.)"
    """
    ours, theirs = await observe_both(an_update_as_the_failed_sibling, stage)
    assert ours.heads[1]["next"] == ("z",)
    assert ours.returned[-1] == {"n": 1, "log": ["run 1", "by hand", "z"]}
    assert theirs.heads[1]["next"] == ()
    assert theirs.returned[-1] == {"n": 1, "log": ["by hand"]}


async def test_an_update_as_a_pending_task_leaves_other_pending_tasks_to_run(stage: Stage) -> None:
    """An update signed by one of two pending nodes makes no checkpoint before the other has a result, too.

    Semantics, "Time travel": "when none is left the super-step commits as usual".
    """
    ours, theirs = await observe_both(an_update_as_one_of_two_failed_siblings, stage)
    assert ours.heads[1]["next"] == ("c",)
    assert ours.returned[2:] == [{"n": 1, "log": ["run 1", "by hand", "c", "z"]}] * 2
    assert [each["source"] for each in ours.history] == ["loop", "loop", "loop", "input"]
    assert theirs.returned[2:] == [{"n": 1, "log": ["by hand"]}] * 2


async def test_pending_writes_to_a_custom_reducer_are_shown_as_results(stage: Stage) -> None:
    """LangGraph folds the results of several finished siblings into the head's values while another one waits.

    Semantics, "Checkpoints": the head shows the pending value of a custom reducer's channel where one task wrote to it;
    where several did, only the graph's code can fold them, and `tasks` show what each wrote.
    """
    ours, theirs = await observe_both(siblings_of_an_interrupt_with_a_custom_reducer, stage)
    assert (ours.heads[0]["values"], theirs.heads[0]["values"]) == ({"latest": []}, {"latest": ["a", "b"]})
    assert ours.heads[0]["tasks"] == theirs.heads[0]["tasks"]
    assert [task["result"] for task in ours.heads[0]["tasks"]] == [{"latest": ["a"]}, {"latest": ["b"]}, None]
    assert (ours.returned[1], ours.history) == (theirs.returned[1], theirs.history)


async def test_two_writers_leave_the_thread_readable_and_repairable(stage: Stage) -> None:
    """LangGraph's `get_state` raises after two writers of a channel without a reducer.

    Semantics, "A super-step": "It must leave the thread readable and repairable".
    """
    our_thread, their_thread = await both_threads("two_writers_without_a_reducer", stage)
    with pytest.raises(errors.InvalidUpdateError, match="'n' got 2 values in step 2"):
        await our_thread.graph.ainvoke({"n": 1}, our_thread.config)
    state = await our_thread.graph.aget_state(our_thread.config)
    assert (state.values["n"], state.next) == (1, ("a", "b"))
    await our_thread.graph.aupdate_state(state.parent_config, {"n": 5}, as_node=END)
    assert (await our_thread.graph.ainvoke(None, our_thread.config))["n"] == 5
    with pytest.raises(InvalidUpdateError):
        await their_thread.graph.ainvoke({"n": 1}, their_thread.config)
    with pytest.raises(InvalidUpdateError):
        await their_thread.graph.aget_state(their_thread.config)


async def test_an_unknown_checkpoint_is_an_error(stage: Stage) -> None:
    """LangGraph accepts an update at an unknown checkpoint id.

    Semantics, "Checkpoints": "An unknown checkpoint id: an error, never a second root".
    """
    our_thread, their_thread = await both_threads("exactly_as_many_steps_as_the_limit", stage)
    unknown = "1efaaaaa-0000-6000-8000-000000000000"
    for thread in (our_thread, their_thread):
        await thread.graph.ainvoke({"n": 1}, thread.config)
    ours, theirs = [
        {"configurable": {**thread.config["configurable"], "checkpoint_id": unknown}}
        for thread in (our_thread, their_thread)
    ]
    with pytest.raises(CheckpointNotFoundError):
        await our_thread.graph.aupdate_state(ours, {"n": 2}, as_node="a")
    await their_thread.graph.aupdate_state(theirs, {"n": 2}, as_node="a")
    assert [
        sum(each.parent_config is None for each in await thread.history()) for thread in (our_thread, their_thread)
    ] == [1, 1]
