"""Waiting for people: what a node asks, whose answer it gets, where breakpoints stop a thread."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import Command, Interrupt, interrupt
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import EmptyInputError, InvalidInputError, InvalidUpdateError, NodeError, StepgraphError
from stepgraph.protocol.snapshot import config_for, head_in_record, view
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, draw, graph


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


class Stage:
    """Nodes that ask what they are told to, one question after the other, and count their runs."""

    def __init__(self, edges: str, questions: dict[str, list[Any]], **options: Any) -> None:
        self.runs: Counter[str] = Counter()
        self.failing: set[str] = set()
        nodes = {name: self._node(name, asked) for name, asked in questions.items()}
        self.runner = MemoryRunner(draw(State, edges, nodes).compile(name="g", **options))

    def _node(self, name: str, questions: list[Any]) -> Any:
        def node(state: State) -> dict[str, Any]:
            self.runs[name] += 1
            answers = [interrupt(question) for question in questions]
            if name in self.failing:
                raise ConnectionError(f"{name} is down")
            return {"log": [f"{name} {answer}" for answer in answers] or [name]}

        return node

    def invoke(self, given: Any = None, **breaks: Any) -> dict[str, Any]:
        return self.runner.invoke(given, THREAD, **breaks)

    def answer(self, resume: Any) -> dict[str, Any]:
        return self.runner.invoke(Command(resume=resume), THREAD)

    @property
    def asked(self) -> tuple[Interrupt, ...]:
        return self.runner.get_state(THREAD).interrupts

    @property
    def next(self) -> tuple[str, ...]:
        return self.runner.get_state(THREAD).next

    @property
    def steps(self) -> list[int]:
        return [(s.metadata or {})["step"] for s in self.runner.get_state_history(THREAD)]

    @property
    def thread(self) -> Thread:
        """The engine's own thread, as the runner has it."""
        return self.runner._runs["t1"][-1].thread


ONE = ("START > ask, ask > last, last > END", {"ask": ["why?"], "last": []})
TWO = ("START > ask, ask > last, last > END", {"ask": ["one", "two"], "last": []})
MANY = ("START > a, START > b, START > c, a+b+c > d, d > END", {"a": ["A?"], "b": ["B?", "B!"], "c": [], "d": []})


def test_a_question_makes_no_checkpoint_and_the_thread_waits() -> None:
    """The task shows it; invoke gives the values with the question; the node runs again from its top for the answer."""
    stage = Stage(*ONE)
    assert stage.invoke({}) == {"log": [], "__interrupt__": list(stage.asked)}
    (asked,) = stage.asked
    assert (asked.value, asked.deadline) == ("why?", None)
    (task,) = stage.runner.get_state(THREAD).tasks
    assert (task.interrupts, task.result, task.error) == ((asked,), None, None)
    assert (stage.next, stage.steps) == (("ask",), [1, 0])
    assert stage.answer("so") == {"log": ["ask so", "last"]}
    assert (stage.runs, stage.steps, stage.asked) == ({"ask": 2, "last": 1}, [3, 2, 1, 0], ())


@pytest.mark.parametrize("answer", [None, False, 0, "", [], {}, {"ok": True}, [1, {"a": None}]])
def test_an_answer_may_be_anything_that_is_json(answer: Any) -> None:
    """A mapping is the answer itself, unless its keys are interrupts' ids."""
    stage = Stage(*ONE)
    stage.invoke({})
    assert stage.answer(answer)["log"] == [f"ask {answer}", "last"]


def test_an_answer_that_is_no_json_is_refused() -> None:
    """Before anything is run; the question waits on."""
    stage = Stage(*ONE)
    stage.invoke({})
    with pytest.raises(InvalidInputError, match="An answer to an interrupt must be plain JSON"):
        stage.answer(object())
    assert len(stage.asked) == 1


def test_a_mapping_may_answer_a_question_by_its_id() -> None:
    """Also where the answer is itself a mapping."""
    stage = Stage(*ONE)
    stage.invoke({})
    assert stage.answer({stage.asked[0].id: {"ok": True}})["log"] == ["ask {'ok': True}", "last"]


def test_questions_of_one_node_are_answered_in_their_order() -> None:
    """Each has an id of its own, and the second never takes the first one's answer."""
    stage = Stage(*TWO)
    stage.invoke({})
    (first,) = stage.asked
    (second,) = stage.answer("1")["__interrupt__"]
    assert (first.value, second.value) == ("one", "two")
    with pytest.raises(InvalidUpdateError, match=f"No interrupt '{first.id}' waits .*these do: '{second.id}'"):
        stage.answer({first.id: "late"})
    assert stage.asked == (second,)
    assert stage.answer({second.id: "2"})["log"] == ["ask 1", "ask 2", "last"]
    assert stage.runs == {"ask": 3, "last": 1}


def test_parallel_questions_are_answered_in_any_order_and_partly() -> None:
    """Only those whose question was answered run again; a sibling that asks nothing has finished."""
    stage = Stage(*MANY)
    stage.invoke({})
    a, b = stage.asked
    assert (a.value, b.value, stage.next) == ("A?", "B?", ("a", "b"))
    with pytest.raises(InvalidUpdateError, match=rf"2 interrupts wait .* of '{a.id}', '{b.id}'"):
        stage.answer("whose?")
    a_left, b_next = stage.answer({b.id: "x"})["__interrupt__"]
    assert (a_left, b_next.value) == (a, "B!")
    assert stage.runs == {"a": 1, "b": 2, "c": 1}
    with pytest.raises(InvalidUpdateError, match="No interrupt"):
        stage.answer({a.id: "x", "0" * 16: "y"})
    assert stage.answer({a.id: "y", b_next.id: "z"})["log"] == ["a y", "b x", "b z", "c", "d"]
    assert (stage.runs, stage.steps) == ({"a": 2, "b": 3, "c": 1, "d": 1}, [3, 2, 1, 0])


def test_an_answer_to_a_thread_that_asks_nothing_is_refused() -> None:
    """On a finished thread, a failed one, and one that does not exist; nothing is changed by it."""
    stage = Stage("START > a, a > END", {"a": []})
    with pytest.raises(EmptyInputError, match="nothing waits for an answer"):
        stage.answer("x")
    stage.failing = {"a"}
    with pytest.raises(NodeError):
        stage.invoke({})
    for _ in range(2):
        with pytest.raises(InvalidUpdateError, match="does not wait for an answer"):
            stage.answer("x")
        stage.failing = set()
        assert stage.invoke()["log"] == ["a"]
    assert stage.runs == {"a": 2}


def test_a_question_beside_a_failure_is_kept() -> None:
    """The failure is told first; the resume runs the failed node, and the question waits, answered or not."""
    stage = Stage(*MANY)
    stage.failing = {"c"}
    with pytest.raises(ConnectionError):
        stage.invoke({})
    a, b = stage.asked
    with pytest.raises(ConnectionError):
        stage.answer({a.id: "x"})
    stage.failing = set()
    assert stage.invoke()["__interrupt__"] == [b]
    assert stage.runs == {"a": 2, "b": 1, "c": 3}
    stage.answer({b.id: "y"})
    assert stage.answer("z")["log"] == ["a x", "b y", "b z", "c", "d"]


def test_a_node_that_fails_after_its_answer_keeps_it() -> None:
    """On resume it is not asked again."""
    stage = Stage(*ONE)
    stage.invoke({})
    stage.failing = {"ask"}
    with pytest.raises(ConnectionError):
        stage.answer("yes")
    stage.failing = set()
    assert stage.invoke()["log"] == ["ask yes", "last"]


def test_a_resume_without_an_answer_asks_again() -> None:
    """The same question, and the node is not run for it."""
    stage = Stage(*ONE)
    asked = stage.invoke({})["__interrupt__"]
    assert stage.invoke()["__interrupt__"] == asked
    assert stage.runs == {"ask": 1}


def test_a_new_input_discards_the_question() -> None:
    """And what was asked anew has another id; the old one's answer is refused."""
    stage = Stage(*ONE)
    (old,) = stage.invoke({})["__interrupt__"]
    (new,) = stage.invoke({})["__interrupt__"]
    assert new.id != old.id
    with pytest.raises(InvalidUpdateError, match=f"No interrupt '{old.id}'"):
        stage.answer({old.id: "x"})
    assert stage.answer("y")["log"] == ["ask y", "last"]


def test_an_update_as_the_node_that_waits_answers_for_it() -> None:
    """The question is gone with it, and the node is not run again."""
    stage = Stage(*TWO)
    stage.invoke({})
    stage.answer("1")
    stage.runner.update_state(THREAD, {"log": ["by hand"]}, as_node="ask")
    assert (stage.asked, stage.next) == ((), ("last",))
    assert stage.invoke()["log"] == ["by hand", "last"]


def test_a_refused_update_as_the_node_that_waits_leaves_its_question() -> None:
    """With the answers it has already had."""
    stage = Stage(*TWO)
    stage.invoke({})
    (second,) = stage.answer("1")["__interrupt__"]
    bad = [[({"log": ["x"]}, "ask")], [({}, "nobody")]]
    with pytest.raises(InvalidUpdateError, match="no node 'nobody'"):
        stage.runner.bulk_update_state(THREAD, bad)
    assert (stage.asked, stage.next) == ((second,), ("ask",))
    assert stage.answer("2")["log"] == ["ask 1", "ask 2", "last"]


def test_an_update_of_a_virtual_author_keeps_the_questions() -> None:
    """And the answers; the node then sees the new values."""
    stage = Stage(*TWO)
    stage.invoke({})
    (second,) = stage.answer("1")["__interrupt__"]
    stage.runner.update_state(THREAD, {"log": ["note"]}, as_node="human")
    assert stage.asked == (second,)
    assert stage.answer({second.id: "2"})["log"] == ["note", "ask 1", "ask 2", "last"]


def test_a_replay_at_the_question_asks_anew() -> None:
    """What is asked then is another question, on a branch of its own."""
    stage = Stage(*TWO)
    (first,) = stage.invoke({})["__interrupt__"]
    stage.answer("1")
    (again,) = stage.runner.invoke(None, stage.runner.get_state(THREAD).config)["__interrupt__"]
    assert (again.value, again.id == first.id) == ("one", False)


def test_a_fork_elsewhere_asks_on_its_own() -> None:
    """The source goes on waiting, and each gets its own answer."""
    stage = Stage(*ONE)
    stage.invoke({})
    stage.runner.fork(THREAD, thread_id="t2")
    elsewhere = config_for("t2")
    assert stage.runner.get_state(elsewhere).interrupts[0].id != stage.asked[0].id
    assert stage.runner.invoke(Command(resume="2"), elsewhere)["log"] == ["ask 2", "last"]
    assert stage.answer("1")["log"] == ["ask 1", "last"]


def test_a_question_is_plain_json_and_is_asked_in_a_node() -> None:
    """What cannot be shown to people is an error of the node; so is a time limit without an answer for then."""
    with pytest.raises(StepgraphError, match=r"interrupt\(\) asks from inside a node"):
        interrupt("?")
    wrong: list[tuple[Any, str]] = [
        (lambda state: interrupt({1, 2}), "must be plain JSON"),
        (lambda state: interrupt("?", default={1}), "The default of an interrupt"),
        (lambda state: interrupt("?", timeout=1), r"default=\.\.\."),
        (lambda state: interrupt("?", timeout=timedelta(0), default=1), "a positive time"),
    ]
    for node, told in wrong:
        with pytest.raises(InvalidUpdateError, match=told):
            MemoryRunner(graph(State, "START > n, n > END", n=node)).invoke({}, THREAD)


def test_a_question_with_a_time_limit_tells_its_deadline() -> None:
    """By the thread's clock."""

    def ask(state: State) -> dict[str, Any]:
        return {"log": [interrupt("?", timeout=timedelta(hours=1), default="nobody")]}

    runner = MemoryRunner(graph(State, "START > n, n > END", n=ask), clock=lambda: "2025-01-01T00:00:00+00:00")
    (asked,) = runner.invoke({}, THREAD)["__interrupt__"]
    assert asked.deadline == "2025-01-01T01:00:00+00:00"
    assert runner.invoke(Command(resume="me"), THREAD)["log"] == ["me"]


CHAIN = ("START > a, a > b, b > c, c > END", {"a": [], "b": [], "c": []})

STOPS: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "before one": ({"interrupt_before": ["b"]}, [("b",), ()]),
    "after one": ({"interrupt_after": ["a"]}, [("b",), ()]),
    "before and after one": ({"interrupt_before": ["b"], "interrupt_after": ["b"]}, [("b",), ("c",), ()]),
    "before and after, at the same place": ({"interrupt_before": ["b"], "interrupt_after": ["a"]}, [("b",), ()]),
    "before all": ({"interrupt_before": "*"}, [("a",), ("b",), ("c",), ()]),
    "after all": ({"interrupt_after": "*"}, [("b",), ("c",), ()]),
    "by one name": ({"interrupt_before": "c"}, [("c",), ()]),
}


@pytest.mark.parametrize("where", ["compile", "invoke"])
@pytest.mark.parametrize(("breaks", "stops"), STOPS.values(), ids=STOPS.keys())
def test_a_breakpoint_stops_the_thread_until_it_is_resumed(
    breaks: dict[str, Any], stops: list[tuple[str, ...]], where: str
) -> None:
    """At compile or for each invoke; no node is run twice, and no checkpoint is made for it."""
    stage = Stage(*CHAIN, **(breaks if where == "compile" else {}))
    reached = []
    given: Any = {}
    while not reached or reached[-1]:
        result = stage.invoke(given, **(breaks if where == "invoke" else {}))
        assert "__interrupt__" not in result
        reached.append(stage.next)
        given = None
    assert reached == stops
    assert stage.runs == {"a": 1, "b": 1, "c": 1}
    assert stage.steps == [4, 3, 2, 1, 0]


def test_an_invokes_breakpoints_replace_those_of_the_graph() -> None:
    """None at all, or others; the next invoke has the graph's again."""
    stage = Stage(*CHAIN, interrupt_before=["b"])
    assert stage.invoke({}, interrupt_before=[])["log"] == ["a", "b", "c"]
    stage.invoke({}, interrupt_before=["c"])
    assert stage.next == ("c",)
    stage.invoke({})
    assert stage.next == ("b",)


def test_a_thread_at_a_breakpoint_may_be_updated_and_goes_on() -> None:
    """That is what breakpoints are for: look, mend, resume."""
    for breaks in ({"interrupt_before": ["b"]}, {"interrupt_after": ["a"]}):
        stage = Stage(*CHAIN, **breaks)
        stage.invoke({})
        stage.runner.update_state(THREAD, {"log": ["mended"]}, as_node="human")
        assert stage.invoke()["log"] == ["a", "mended", "b", "c"]


def test_a_replay_goes_on_past_the_breakpoint_it_starts_at() -> None:
    """Everything next at the addressed checkpoint runs; the breakpoints further on hold."""
    stage = Stage(*CHAIN, interrupt_before=["b", "c"])
    stage.invoke({})
    stage.runner.invoke(None, stage.runner.get_state(THREAD).config)
    assert (stage.next, stage.runs) == (("c",), {"a": 1, "b": 1})


def test_a_replay_may_have_breakpoints_of_its_own() -> None:
    """Like any invoke; and an input at a checkpoint meets them, as any input does."""
    stage = Stage(*CHAIN)
    stage.invoke({})
    first = list(stage.runner.get_state_history(THREAD))[-2].config
    stage.runner.invoke(None, first, interrupt_before="*")
    assert (stage.next, stage.runs["a"]) == (("b",), 2)
    stage.runner.invoke({}, first, interrupt_before="*")
    assert (stage.next, stage.runs["a"]) == (("a",), 2)


def test_a_node_that_fails_behind_a_breakpoint_is_resumed_without_another_stop() -> None:
    """Passed once is passed, for whoever asks for more."""
    stage = Stage(*CHAIN, interrupt_before=["b"])
    stage.invoke({})
    stage.failing = {"b"}
    with pytest.raises(ConnectionError):
        stage.invoke()
    stage.failing = set()
    assert stage.invoke()["log"] == ["a", "b", "c"]


def test_a_question_behind_a_breakpoint_is_answered_without_another_stop() -> None:
    """Also in a later run, after a failure beside it."""
    stage = Stage(*MANY, interrupt_before=["a"])
    stage.invoke({})
    stage.failing = {"c"}
    with pytest.raises(ConnectionError):
        stage.invoke()
    stage.failing = set()
    a, b = stage.asked
    assert [each.value for each in stage.answer({a.id: "1", b.id: "2"})["__interrupt__"]] == ["B!"]
    assert stage.answer("3")["log"] == ["a 1", "b 2", "b 3", "c", "d"]


def test_a_command_at_a_breakpoint_goes_on() -> None:
    """Nothing was asked, so there is nothing to answer; the thread is resumed."""
    stage = Stage(*CHAIN, interrupt_before=["b"])
    stage.invoke({})
    assert stage.answer("go")["log"] == ["a", "b", "c"]


def through_json(thread: Thread) -> Thread:
    """The thread as its next run has it: by way of a record's JSON text."""
    record = record_of(thread)
    assert record is not None
    again = Record.model_validate_json(json.dumps(json.loads(record.model_dump_json())))
    assert again == record
    spec, channels = thread.spec, thread.channels
    restored = thread_from(again, spec, channels, thread_id="t1", run_id="next", clock=lambda: "now")
    assert thread.head is not None
    assert restored.head is not None
    shown = view(thread, thread.head, as_head=True)
    assert head_in_record(again) == view(restored, restored.head, as_head=True) == shown
    assert (restored.waiting_interrupts, restored.interrupts, restored.paused) == (
        thread.waiting_interrupts,
        thread.interrupts,
        thread.paused,
    )
    return restored


def test_an_interview_comes_through_the_record_whole() -> None:
    """Questions, answers so far, and the results beside them; it can be answered on the other side."""
    stage = Stage(*MANY)
    stage.invoke({})
    stage.answer({stage.asked[1].id: "x"})
    again = through_json(stage.thread)
    assert [ask.value for ask in again.waiting_interrupts] == ["A?", "B!"]
    assert again.due() == ()
    again.answer({again.waiting_interrupts[1].id: "y"})
    (task,) = again.due()
    assert (task.node, again.answers(task)) == ("b", ("x", "y"))


def test_a_breakpoint_comes_through_the_record() -> None:
    """The thread is paused on the other side, and passes on there."""
    stage = Stage(*CHAIN, interrupt_before=["b"])
    stage.invoke({})
    record = record_of(stage.thread)
    assert record is not None
    assert (record.paused, record.next) == (True, ("b",))
    again = through_json(stage.thread)
    assert again.due() == ()
    again.pass_breakpoint()
    assert [task.node for task in again.due()] == ["b"]
