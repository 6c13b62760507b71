"""Where the two differ, SEMANTICS asks for it: each test cites the sentence, and shows both behaviours."""

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
from tests.parity.cases import Cases, both, failing_once, nodes
from tests.parity.dialect import HERE, THERE, Dialect, Play
from tests.parity.steps import answer, answer_each, invoke, replay, resume, update
from tests.parity.telling import Asked, Raised

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


def _chain(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > c, c > END", **nodes("a b c"))


def _flaky(then: Any) -> Any:
    return failing_once(ConnectionError("no route"), then, after=0.2)


def _counted() -> Any:
    ran: list[int] = []

    def node(state: Count) -> dict[str, Any]:
        ran.append(1)
        return {"log": [f"run {len(ran)}"]}

    return node


@case(invoke({"n": 1}, recursion_limit=2))
def just_enough(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}))
def a_list_of_mappings(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > END", a=lambda s: [{"log": ["one"]}, {"log": ["two"], "n": 2}])


@case(invoke({"n": 1}), resume())
def a_failing_router(d: Dialect) -> Any:
    errors = [LookupError("where to?")]

    def router(state: Count) -> str:
        if errors:
            raise errors.pop()
        return "z"

    return d.draw(Count, "START > a, z > END", **nodes("a z")).add_conditional_edges("a", router, ["z"])


@case(invoke({"n": 1}))
def a_router_to_nowhere(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, z > END", **nodes("a z"))
    return g.add_conditional_edges("a", lambda s: "zz" if s["n"] else "z")


@case(invoke({"n": 1}), answer(None))
def an_answer_of_none(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [repr(d.interrupt("?"))]})


@case(invoke({"n": 1}), update({"n": 5}, as_node="__end__", at=2))
def values_as_the_end(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update(None, as_node="__end__", at=2))
def the_end_at_an_earlier_checkpoint(d: Dialect) -> Any:
    return _chain(d)


@case(update({"n": 1}, as_node="a"), resume())
def an_update_first(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="human", at=2), resume())
def a_human(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"log": ["by hand"]}, as_node="b"), resume())
def an_update_as_the_failed_sibling(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a+b > z, z > END", a=_counted(), b=_flaky(None), **nodes("z"))


@case(invoke({"n": 1}), update({"log": ["by hand"]}, as_node="b"), resume(), resume())
def an_update_as_one_of_two_failed_siblings(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > a, START > b, START > c, a+b+c > z, z > END",
        **nodes("z"),
        a=_counted(),
        b=_flaky(None),
        c=_flaky({"log": ["c"]}),
    )


@case(invoke({"n": 1}))
def a_mistyped_key(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > END", a=lambda s: {"lgo": ["lost"]})


@case(invoke({"m": 1}))
def a_mistyped_input(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), answer("which?"))
def one_answer_for_two(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > x, START > y, x > END, y > END",
        x=lambda s: {"log": [d.interrupt("a")]},
        y=lambda s: {"log": [d.interrupt("b")]},
    )


@case(invoke({"n": 1}))
def a_fan_declared_out_of_order(d: Dialect) -> Any:
    return d.draw(Count, "START > b, START > a, a > END, b > END", **nodes("b a"))


@case(invoke({"n": 1}), resume())
def a_node_that_fails_once(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > END", a=_flaky({"log": ["a"]}))


@case(invoke({"n": 1}))
def a_node_that_fails(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > END", a=_flaky(None))


@case(invoke({"n": 1}))
def two_writers_without_a_reducer(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a > END, b > END", a=lambda s: {"n": 2}, b=lambda s: {"n": 3})


@case(invoke({"n": 1}), update({"n": 7}, as_node="a"), answer("to the first"))
def an_answer_to_what_is_no_longer_asked(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > ask, ask > END", ask=lambda s: {"log": [d.interrupt(s["n"])]}, **nodes("a"))


@case(invoke({"n": 1}), answer("one"), resume(), answer("two"))
def a_resume_between_two_questions(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt("1?"), d.interrupt("2?")]})


@case(invoke({"n": 1}), answer("to nothing"))
def an_answer_to_nothing(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), resume(), answer("x"))
def a_node_that_fails_and_then_asks(d: Dialect) -> Any:
    errors = [ConnectionError("no route")]

    def node(state: Count) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        return {"log": [d.interrupt("?")]}

    return d.draw(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), answer_each(which="kept"), resume())
def a_node_that_fails_before_it_comes_to_ask_again(d: Dialect) -> Any:
    runs: list[int] = []

    def node(state: Count) -> dict[str, Any]:
        runs.append(1)
        if len(runs) == 2:
            raise ConnectionError("no route")
        return {"log": [d.interrupt("which")]}

    return d.draw(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), resume(), answer("yes"))
def a_node_that_counts_its_runs_and_asks(d: Dialect) -> Any:
    runs: list[int] = []

    def node(state: Count) -> dict[str, Any]:
        runs.append(1)
        return {"log": [f"{d.interrupt('?')}, run {len(runs)}"]}

    return d.draw(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), update({"n": 2}, as_node="a"), replay(5))
def a_replay_of_an_update(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(1, recursion_limit=1))
def a_replay_with_a_recursion_limit(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 0}, recursion_limit=3), resume(recursion_limit=3))
def a_resume_with_a_recursion_limit(d: Dialect) -> Any:
    g = d.draw(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 20 else d.END, ["a", d.END])


@case(invoke({"n": 1, "log": ["in"]}), update({"n": 2}), resume())
def an_update_at_an_input_whose_router_failed(d: Dialect) -> Any:
    g = d.draw(Count, "a > END", **nodes("a"))
    return g.add_conditional_edges(d.START, lambda s: {2: "a"}[s["n"]], ["a"])


@case(invoke({"n": 1}), update({"log": ["x"]}, as_node="a"), update({"log": ["y"]}))
def an_update_after_an_update(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 3}, as_node="b", at=3))
def an_update_beside_a_join_that_is_complete(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}), resume())
def a_slow_sibling(d: Dialect) -> Any:
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

    return d.draw(Count, "START > a, START > b, a > END, b > END", a=slow, b=quick)


async def plays(name: str, stage: Stage) -> tuple[Play, Play]:
    """A thread of the case's graph here, and one in LangGraph."""
    case = next(case for case in cases.all if case.name == name)
    there = case.build(THERE).compile(checkpointer=InMemorySaver())
    here = Play(HERE, stage.use(stage.graphs[name]), stage.thread())
    return here, Play(THERE, there, {"configurable": {"thread_id": "t"}})


async def test_steps_count_from_zero_and_nothing_is_there_before_the_input(stage: Stage) -> None:
    """ "Checkpoints": the table begins with step 0, ``input``, writes `None`, values ``{}``."""
    here, there = await plays("just_enough", stage)
    for play in (here, there):
        await play.graph.ainvoke({"n": 1}, play.config)
    ours, theirs = [(await play.history())[::-1] for play in (here, there)]
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
    """ "A super-step": "triggered nodes by name"; LangGraph lists them as they were declared."""
    here, there = await plays("a_fan_declared_out_of_order", stage)
    for play, listed in ((here, ("a", "b")), (there, ("b", "a"))):
        returned = await play.graph.ainvoke({"n": 1}, play.config)
        assert returned["log"] == ["a", "b"]
        assert (await play.history())[1].next == listed


async def test_a_finished_task_shows_no_error(stage: Stage) -> None:
    """ "Checkpoints": "a finished task shows its result, a failed one its error"; LangGraph shows both."""
    here, there = await plays("a_node_that_fails_once", stage)
    for play in (here, there):
        with pytest.raises(ConnectionError):
            await play.graph.ainvoke({"n": 1}, play.config)
        await play.graph.ainvoke(None, play.config)
    (ours,), (theirs,) = [(await play.history())[1].tasks for play in (here, there)]
    assert (ours.result, ours.error) == ({"log": ["a"]}, None)
    assert (theirs.result, theirs.error) == ({"log": ["a"]}, "ConnectionError('no route')")


async def test_the_siblings_of_a_failed_node_finish(stage: Stage) -> None:
    """ "Failure and resume": "its siblings finish; their results are kept"; LangGraph runs them again."""
    here, there = await both(a_slow_sibling, stage)
    assert here.heads[0]["next"] == ("b",)
    assert here.returned == [Raised("ConnectionError"), {"n": 1, "log": ["run 1"]}]
    assert there.heads[0]["next"] == ("a", "b")
    assert there.returned == [Raised("ConnectionError"), {"n": 1, "log": ["run 2"]}]


async def test_a_failure_is_of_the_nodes_type_and_a_node_error(stage: Stage) -> None:
    """ "Failure and resume": "an error that is both a `NodeError` ... and ... the node's own exception type"."""
    here, there = await plays("a_node_that_fails", stage)
    with pytest.raises(ConnectionError, match="no route") as ours:
        await here.graph.ainvoke({"n": 1}, here.config)
    with pytest.raises(ConnectionError, match="no route") as theirs:
        await there.graph.ainvoke({"n": 1}, there.config)
    assert isinstance(ours.value, NodeError)
    assert ours.value.parts["node"] == "a"
    assert type(theirs.value) is ConnectionError


async def test_all_super_steps_that_are_allowed_may_be_taken(stage: Stage) -> None:
    """ "A super-step": "`recursion_limit` super-steps per invoke"; LangGraph raises though the graph is done."""
    here, there = await both(just_enough, stage)
    assert here.returned == [{"n": 1, "log": ["a", "b"]}]
    assert there.returned == [Raised("GraphRecursionError")]
    assert here.heads == there.heads
    assert here.history == there.history


async def test_a_node_may_return_a_list_of_mappings(stage: Stage) -> None:
    """ "A super-step": "a mapping of channels, `None` (no write), a `Command`, or a list of these"."""
    here, there = await both(a_list_of_mappings, stage)
    assert here.returned == [{"n": 2, "log": ["one", "two"]}]
    assert there.returned == [Raised("InvalidUpdateError")]


async def test_a_node_whose_router_failed_has_not_finished(stage: Stage) -> None:
    """ "Failure and resume": "only unfinished tasks run"; LangGraph takes it as done, and forgets where it led."""
    here, there = await both(a_failing_router, stage)
    assert here.returned == [Raised("LookupError"), {"n": 1, "log": ["a", "z"]}]
    assert there.returned == [Raised("LookupError"), {"n": 1, "log": ["a"]}]


async def test_a_router_may_not_lead_to_nowhere(stage: Stage) -> None:
    """ "A super-step": "An unknown destination is an error of that node"; LangGraph ends there in silence."""
    here, there = await both(a_router_to_nowhere, stage)
    assert here.returned == [Raised("InvalidUpdateError")]
    assert here.heads[0]["next"] == ("a",)
    assert there.returned == [{"n": 1, "log": ["a"]}]


async def test_a_node_may_not_write_an_unknown_key(stage: Stage) -> None:
    """ "A super-step": "An unknown key is an error naming the near miss, not silence"."""
    here, there = await both(a_mistyped_key, stage)
    assert here.returned == [Raised("InvalidUpdateError")]
    assert there.returned == [{"n": 1, "log": []}]


async def test_an_input_may_not_have_an_unknown_key(stage: Stage) -> None:
    """ "A super-step": "An unknown key is an error"; of the input as of a node's writes."""
    here, there = await both(a_mistyped_input, stage)
    assert here.returned == [Raised("InvalidInputError")]
    assert here.history == []
    assert there.returned == [{"log": ["a", "b", "c"]}]


async def test_none_is_an_answer(stage: Stage) -> None:
    """ "Waiting for people": "`Command(resume=...)` ... one value", whatever it is; LangGraph breaks on `None`."""
    here, there = await both(an_answer_of_none, stage)
    assert here.returned[-1] == {"n": 1, "log": ["None"]}
    assert there.returned[-1] == Raised("UnboundLocalError")


async def test_a_later_question_never_takes_an_answer_that_was_meant_for_an_earlier_one(stage: Stage) -> None:
    """ "Waiting for people": "a second interrupt never takes the first one's answer"; LangGraph keeps it."""
    here, there = await both(an_answer_to_what_is_no_longer_asked, stage)
    assert here.returned[-1] == Raised("InvalidUpdateError")
    assert here.heads[-1]["next"] == ("ask",)
    assert there.returned[-1] == {"n": 7, "log": ["a", "to the first"]}


async def test_a_resume_answers_nothing(stage: Stage) -> None:
    """ "Waiting for people": "a second interrupt never takes the first one's answer"; LangGraph's resume gives it."""
    here, there = await both(a_resume_between_two_questions, stage)
    assert here.returned[2] == {"n": 1, "log": [], "__interrupt__": [Asked("2?")]}
    assert here.returned[3] == {"n": 1, "log": ["one", "two"]}
    assert there.returned[2] == {"n": 1, "log": ["one", "one"]}


async def test_an_answer_where_nothing_was_asked_is_refused(stage: Stage) -> None:
    """ "Waiting for people": an answer belongs to one `interrupt`; LangGraph drops it in silence."""
    here, there = await both(an_answer_to_nothing, stage)
    assert here.returned[-1] == Raised("InvalidUpdateError")
    assert there.returned[-1] == {"n": 1, "log": ["a", "b", "c"]}
    assert here.history == there.history


async def test_a_task_that_waits_shows_its_question_and_no_old_error(stage: Stage) -> None:
    """ "Waiting for people": "the task shows the interrupt"; LangGraph shows the error of the run before beside it."""
    here, there = await both(a_node_that_fails_and_then_asks, stage)
    assert here.returned == there.returned
    assert here.history == there.history
    assert here.heads[1]["tasks"] == [{"name": "ask", "result": None, "error": None, "asks": [Asked("?")]}]
    assert there.heads[1]["tasks"][0]["error"] == "ConnectionError"


async def test_an_answer_is_not_lost_when_its_node_fails(stage: Stage) -> None:
    """ "Waiting for people": ""a map from interrupt id" answers, once given; LangGraph asks again."""
    here, there = await both(a_node_that_fails_before_it_comes_to_ask_again, stage)
    assert here.returned[1:] == [Raised("ConnectionError"), {"n": 1, "log": ["kept"]}]
    assert there.returned[1:] == [
        Raised("ConnectionError"),
        {"n": 1, "log": [], "__interrupt__": [Asked("which")]},
    ]


async def test_a_resume_runs_no_node_that_waits(stage: Stage) -> None:
    """ "Waiting for people": "the thread waits" for an answer; LangGraph runs the node to have it ask again."""
    here, there = await both(a_node_that_counts_its_runs_and_asks, stage)
    assert here.returned[:2] == there.returned[:2] == [{"n": 1, "log": [], "__interrupt__": [Asked("?")]}] * 2
    assert here.returned[2] == {"n": 1, "log": ["yes, run 2"]}
    assert there.returned[2] == {"n": 1, "log": ["yes, run 3"]}


async def test_a_replay_is_a_fork_also_where_an_update_is_replayed(stage: Stage) -> None:
    """ "Time travel": "a `fork` checkpoint (parent: the addressed one, step + 1) becomes the head"; LangGraph has none
    where the addressed one was made by hand."""
    here, there = await both(a_replay_of_an_update, stage)
    assert here.returned == there.returned
    assert [each["source"] for each in here.history[:4]] == ["loop", "loop", "fork", "update"]
    assert [each["source"] for each in there.history[:4]] == ["loop", "loop", "update", "loop"]


async def test_a_replay_takes_no_more_super_steps_than_it_is_allowed(stage: Stage) -> None:
    """ "A super-step": "`recursion_limit` super-steps per invoke"; LangGraph takes one more in a replay."""
    here, there = await both(a_replay_with_a_recursion_limit, stage)
    assert here.returned[-1] == there.returned[-1] == Raised("GraphRecursionError")
    assert here.heads[-1]["next"] == ("b",)
    assert there.heads[-1]["next"] == ("c",)


async def test_a_resume_takes_no_more_super_steps_than_it_is_allowed(stage: Stage) -> None:
    """ "A super-step": "`recursion_limit` super-steps per invoke"; LangGraph takes two more in a resume."""
    here, there = await both(a_resume_with_a_recursion_limit, stage)
    assert here.returned == there.returned == [Raised("GraphRecursionError")] * 2
    assert [head["values"]["n"] for head in here.heads] == [3, 6]
    assert [head["values"]["n"] for head in there.heads] == [3, 8]


async def test_an_update_does_not_lose_the_input(stage: Stage) -> None:
    """ "Time travel": an update "applies `values`" and nothing is taken away by it; LangGraph drops the input."""
    here, there = await both(an_update_at_an_input_whose_router_failed, stage)
    assert here.returned == [Raised("KeyError"), None, {"n": 2, "log": ["in", "a"]}]
    assert there.returned == [Raised("KeyError"), None, {"n": 2, "log": ["a"]}]


async def test_an_update_is_the_last_writer_for_the_next_one(stage: Stage) -> None:
    """ "Time travel": "`as_node` omitted: the last writer"; LangGraph takes the last node that ran."""
    here, there = await both(an_update_after_an_update, stage)
    assert here.history[0]["values"] == there.history[0]["values"]
    assert here.heads[-1]["next"] == ("b",)
    assert there.heads[-1]["next"] == ()


async def test_an_update_triggers_what_its_author_leads_to_and_nothing_else(stage: Stage) -> None:
    """ "Time travel": "sets `next` to what `as_node`'s edges and routers trigger"; LangGraph adds a complete join."""
    here, there = await both(an_update_beside_a_join_that_is_complete, stage)
    assert here.heads[-1]["next"] == ("c",)
    assert there.heads[-1]["next"] == ("c", "z")


async def test_one_answer_to_two_questions_is_refused_by_either_in_its_own_words(stage: Stage) -> None:
    """ "Waiting for people": "one value, or a map from interrupt id"; nothing changes."""
    here, there = await both(one_answer_for_two, stage)
    assert here.returned[-1] == Raised("InvalidUpdateError")
    assert there.returned[-1] == Raised("RuntimeError")
    assert here.heads == there.heads
    assert [task["asks"] for task in here.heads[-1]["tasks"]] == [[Asked("a")], [Asked("b")]]


async def test_the_end_may_sign_values(stage: Stage) -> None:
    """ "Time travel": "`as_node=END` clears `next`", and `values` are applied; LangGraph refuses values."""
    here, there = await both(values_as_the_end, stage)
    assert here.returned[-1] is None
    assert (here.history[0]["values"], here.history[0]["next"]) == ({"n": 5, "log": ["a"]}, ())
    assert there.returned[-1] == Raised("InvalidUpdateError")


async def test_the_end_clears_what_was_next_at_an_earlier_checkpoint_too(stage: Stage) -> None:
    """ "Time travel": "`as_node=END` clears `next`"; LangGraph applies what ran there, and goes on after it."""
    here, there = await both(the_end_at_an_earlier_checkpoint, stage)
    assert (here.history[0]["values"]["log"], here.history[0]["next"]) == (["a"], ())
    assert (there.history[0]["values"]["log"], there.history[0]["next"]) == (["a", "b"], ("c",))


async def test_the_first_checkpoint_has_step_zero_also_when_an_update_makes_it(stage: Stage) -> None:
    """ "Checkpoints": a thread's first is step 0; LangGraph passes over the number of the input."""
    here, there = await both(an_update_first, stage)
    assert here.returned == there.returned
    assert here.heads == there.heads
    assert here.history == [{**each, "step": each["step"] - 1} for each in there.history]
    assert here.history[-1]["step"] == 0


async def test_a_virtual_author_signs_without_being_a_node(stage: Stage) -> None:
    """ "Time travel": "values change, `next` does not"; LangGraph knows only nodes."""
    here, there = await both(a_human, stage)
    assert here.heads[1]["next"] == ("b",)
    assert here.returned[1:] == [None, {"n": 1, "log": ["a", "hand", "b", "c"]}]
    assert there.returned[1] == Raised("InvalidUpdateError")


async def test_an_update_as_a_pending_task_keeps_what_its_siblings_did(stage: Stage) -> None:
    """ "Time travel": "finished siblings keep theirs ... (LangGraph drops the siblings' results here.)" """
    here, there = await both(an_update_as_the_failed_sibling, stage)
    assert here.heads[1]["next"] == ("z",)
    assert here.returned[-1] == {"n": 1, "log": ["run 1", "by hand", "z"]}
    assert there.heads[1]["next"] == ()
    assert there.returned[-1] == {"n": 1, "log": ["by hand"]}


async def test_an_update_as_a_pending_task_leaves_other_pending_ones_to_run(stage: Stage) -> None:
    """ "Time travel": "when none is left the super-step commits as usual"; until then there is no checkpoint."""
    here, there = await both(an_update_as_one_of_two_failed_siblings, stage)
    assert here.heads[1]["next"] == ("c",)
    assert here.returned[2:] == [{"n": 1, "log": ["run 1", "by hand", "c", "z"]}] * 2
    assert [each["source"] for each in here.history] == ["loop", "loop", "loop", "input"]
    assert there.returned[2:] == [{"n": 1, "log": ["by hand"]}] * 2


async def test_two_writers_leave_the_thread_readable_and_repairable(stage: Stage) -> None:
    """ "A super-step": "It must leave the thread readable and repairable"; LangGraph's `get_state` raises."""
    here, there = await plays("two_writers_without_a_reducer", stage)
    with pytest.raises(errors.InvalidUpdateError, match="'n' got 2 values in step 2"):
        await here.graph.ainvoke({"n": 1}, here.config)
    state = await here.graph.aget_state(here.config)
    assert (state.values["n"], state.next) == (1, ("a", "b"))
    await here.graph.aupdate_state(state.parent_config, {"n": 5}, as_node=END)
    assert (await here.graph.ainvoke(None, here.config))["n"] == 5
    with pytest.raises(InvalidUpdateError):
        await there.graph.ainvoke({"n": 1}, there.config)
    with pytest.raises(InvalidUpdateError):
        await there.graph.aget_state(there.config)


async def test_an_unknown_checkpoint_is_an_error_and_never_a_second_root(stage: Stage) -> None:
    """ "Checkpoints": "An unknown checkpoint id: an error, never a second root"."""
    here, there = await plays("just_enough", stage)
    unknown = "1efaaaaa-0000-6000-8000-000000000000"
    for play in (here, there):
        await play.graph.ainvoke({"n": 1}, play.config)
    ours, theirs = [
        {"configurable": {**play.config["configurable"], "checkpoint_id": unknown}} for play in (here, there)
    ]
    with pytest.raises(CheckpointNotFoundError):
        await here.graph.aupdate_state(ours, {"n": 2}, as_node="a")
    await there.graph.aupdate_state(theirs, {"n": 2}, as_node="a")
    assert [sum(each.parent_config is None for each in await play.history()) for play in (here, there)] == [1, 1]
