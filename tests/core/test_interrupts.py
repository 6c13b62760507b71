"""Tests of interrupts and breakpoints: what waits, which answer a node gets, and where breakpoints pause a thread."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from operator import add
from typing import Annotated, Any

import langgraph.types
import pytest
from typing_extensions import TypedDict

from stepgraph import Command, Interrupt, interrupt
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import EmptyInputError, InvalidInputError, InvalidUpdateError, NodeError, StepgraphError
from stepgraph.protocol.snapshot import config_for, head_in_record, snapshot_data
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, build, graph


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


class Harness:
    """A `MemoryRunner` whose nodes call `interrupt` with given values.

    Nodes count their runs, and fail while their name is in `failing`.
    """

    def __init__(self, edges: str, interrupt_values: dict[str, list[Any]], **options: Any) -> None:
        self.runs: Counter[str] = Counter()
        self.failing: set[str] = set()
        nodes = {name: self._node(name, values) for name, values in interrupt_values.items()}
        self.runner = MemoryRunner(build(State, edges, nodes).compile(name="g", **options))

    def _node(self, name: str, values: list[Any]) -> Any:
        def node(state: State) -> dict[str, Any]:
            self.runs[name] += 1
            answers = [interrupt(value) for value in values]
            if name in self.failing:
                raise ConnectionError(f"{name} is down")
            return {"log": [f"{name} {answer}" for answer in answers] or [name]}

        return node

    def invoke(self, input_data: Any = None, **breaks: Any) -> dict[str, Any]:
        return self.runner.invoke(input_data, THREAD, **breaks)

    def answer(self, resume: Any) -> dict[str, Any]:
        return self.runner.invoke(Command(resume=resume), THREAD)

    @property
    def interrupts(self) -> tuple[Interrupt, ...]:
        return self.runner.get_state(THREAD).interrupts

    @property
    def next(self) -> tuple[str, ...]:
        return self.runner.get_state(THREAD).next

    @property
    def steps(self) -> list[int]:
        return [(s.metadata or {})["step"] for s in self.runner.get_state_history(THREAD)]

    @property
    def thread(self) -> Thread:
        """The engine's thread inside the runner."""
        return self.runner._runs["t1"][-1].thread


ONE_INTERRUPT = ("START > ask, ask > last, last > END", {"ask": ["why?"], "last": []})
TWO_INTERRUPTS = ("START > ask, ask > last, last > END", {"ask": ["one", "two"], "last": []})
PARALLEL_INTERRUPTS = (
    "START > a, START > b, START > c, a+b+c > d, d > END",
    {"a": ["A?"], "b": ["B?", "B!"], "c": [], "d": []},
)


def test_an_interrupt_makes_no_checkpoint_and_the_thread_waits() -> None:
    """`invoke` returns the values with the interrupt, and the task shows it.

    An answer runs the node again from its start.
    """
    harness = Harness(*ONE_INTERRUPT)
    assert harness.invoke({}) == {"log": [], "__interrupt__": list(harness.interrupts)}
    (waiting,) = harness.interrupts
    assert (waiting.value, waiting.deadline) == ("why?", None)
    (task,) = harness.runner.get_state(THREAD).tasks
    assert (task.interrupts, task.result, task.error) == ((waiting,), None, None)
    assert (harness.next, harness.steps) == (("ask",), [1, 0])
    assert harness.answer("so") == {"log": ["ask so", "last"]}
    assert (harness.runs, harness.steps, harness.interrupts) == ({"ask": 2, "last": 1}, [3, 2, 1, 0], ())


def test_langgraphs_own_command_answers_an_interrupt() -> None:
    """A caller's ``langgraph.types.Command(resume=...)`` is taken like ours."""
    harness = Harness(*ONE_INTERRUPT)
    harness.invoke({})
    assert harness.runner.invoke(langgraph.types.Command(resume="so"), THREAD) == {"log": ["ask so", "last"]}


@pytest.mark.parametrize("answer", [None, False, 0, "", [], {}, {"ok": True}, [1, {"a": None}]])
def test_an_answer_may_be_any_json(answer: Any) -> None:
    """A mapping given as an answer is the answer itself, unless its keys are ids of interrupts."""
    harness = Harness(*ONE_INTERRUPT)
    harness.invoke({})
    assert harness.answer(answer)["log"] == [f"ask {answer}", "last"]


def test_an_answer_that_is_not_json_is_refused() -> None:
    """An answer that is not JSON runs no node, and the interrupt keeps waiting."""
    harness = Harness(*ONE_INTERRUPT)
    harness.invoke({})
    with pytest.raises(InvalidInputError, match="An answer to an interrupt must be plain JSON"):
        harness.answer(object())
    assert len(harness.interrupts) == 1


def test_a_mapping_may_answer_an_interrupt_by_its_id() -> None:
    """`Command(resume={id: answer})` answers one interrupt, also if the answer is itself a mapping."""
    harness = Harness(*ONE_INTERRUPT)
    harness.invoke({})
    assert harness.answer({harness.interrupts[0].id: {"ok": True}})["log"] == ["ask {'ok': True}", "last"]


def test_interrupts_of_one_node_are_answered_in_order() -> None:
    """Each interrupt of a node has its own id; the second never takes an answer to the first."""
    harness = Harness(*TWO_INTERRUPTS)
    harness.invoke({})
    (first,) = harness.interrupts
    (second,) = harness.answer("1")["__interrupt__"]
    assert (first.value, second.value) == ("one", "two")
    with pytest.raises(InvalidUpdateError, match=f"No interrupt '{first.id}' waits .*these do: '{second.id}'"):
        harness.answer({first.id: "late"})
    assert harness.interrupts == (second,)
    assert harness.answer({second.id: "2"})["log"] == ["ask 1", "ask 2", "last"]
    assert harness.runs == {"ask": 3, "last": 1}


def test_parallel_interrupts_may_be_answered_in_any_order() -> None:
    """Only nodes whose interrupt was answered run again. A sibling without an interrupt has already finished."""
    harness = Harness(*PARALLEL_INTERRUPTS)
    harness.invoke({})
    a, b = harness.interrupts
    assert (a.value, b.value, harness.next) == ("A?", "B?", ("a", "b"))
    with pytest.raises(InvalidUpdateError, match=rf"2 interrupts wait .* of '{a.id}', '{b.id}'"):
        harness.answer("ambiguous")
    a_waiting, b_next = harness.answer({b.id: "x"})["__interrupt__"]
    assert (a_waiting, b_next.value) == (a, "B!")
    assert harness.runs == {"a": 1, "b": 2, "c": 1}
    with pytest.raises(InvalidUpdateError, match="No interrupt"):
        harness.answer({a.id: "x", "0" * 16: "y"})
    assert harness.answer({a.id: "y", b_next.id: "z"})["log"] == ["a y", "b x", "b z", "c", "d"]
    assert (harness.runs, harness.steps) == ({"a": 2, "b": 3, "c": 1, "d": 1}, [3, 2, 1, 0])


def test_an_answer_without_a_waiting_interrupt_is_refused() -> None:
    """Finished, failed and unknown threads refuse an answer and do not change."""
    harness = Harness("START > a, a > END", {"a": []})
    with pytest.raises(EmptyInputError, match="nothing waits for an answer"):
        harness.answer("x")
    harness.failing = {"a"}
    with pytest.raises(NodeError):
        harness.invoke({})
    for _ in range(2):
        with pytest.raises(InvalidUpdateError, match="does not wait for an answer"):
            harness.answer("x")
        harness.failing = set()
        assert harness.invoke()["log"] == ["a"]
    assert harness.runs == {"a": 2}


def test_an_interrupt_beside_a_failed_node_is_kept() -> None:
    """If one node fails and a sibling interrupts, the failure is raised first.

    A resume keeps the interrupt or its answer.
    """
    harness = Harness(*PARALLEL_INTERRUPTS)
    harness.failing = {"c"}
    with pytest.raises(ConnectionError):
        harness.invoke({})
    a, b = harness.interrupts
    with pytest.raises(ConnectionError):
        harness.answer({a.id: "x"})
    harness.failing = set()
    assert harness.invoke()["__interrupt__"] == [b]
    assert harness.runs == {"a": 2, "b": 1, "c": 3}
    harness.answer({b.id: "y"})
    assert harness.answer("z")["log"] == ["a x", "b y", "b z", "c", "d"]


def test_a_node_that_fails_after_its_answer_keeps_the_answer() -> None:
    """A node that failed after its interrupt was answered gets the same answer on resume."""
    harness = Harness(*ONE_INTERRUPT)
    harness.invoke({})
    harness.failing = {"ask"}
    with pytest.raises(ConnectionError):
        harness.answer("yes")
    harness.failing = set()
    assert harness.invoke()["log"] == ["ask yes", "last"]


def test_a_resume_without_an_answer_returns_the_same_interrupt() -> None:
    """Resuming a waiting thread without an answer does not run the node again."""
    harness = Harness(*ONE_INTERRUPT)
    waiting = harness.invoke({})["__interrupt__"]
    assert harness.invoke()["__interrupt__"] == waiting
    assert harness.runs == {"ask": 1}


def test_a_new_input_discards_the_interrupt() -> None:
    """After a new input the node interrupts under another id, and an answer to the old id is refused."""
    harness = Harness(*ONE_INTERRUPT)
    (old,) = harness.invoke({})["__interrupt__"]
    (new,) = harness.invoke({})["__interrupt__"]
    assert new.id != old.id
    with pytest.raises(InvalidUpdateError, match=f"No interrupt '{old.id}'"):
        harness.answer({old.id: "x"})
    assert harness.answer("y")["log"] == ["ask y", "last"]


def test_an_update_as_the_waiting_node_takes_its_place() -> None:
    """An update signed by a waiting node discards its interrupt, and the node does not run again."""
    harness = Harness(*TWO_INTERRUPTS)
    harness.invoke({})
    harness.answer("1")
    harness.runner.update_state(THREAD, {"log": ["by hand"]}, as_node="ask")
    assert (harness.interrupts, harness.next) == ((), ("last",))
    assert harness.invoke()["log"] == ["by hand", "last"]


def test_a_refused_update_as_the_waiting_node_leaves_its_interrupt() -> None:
    """A refused update changes neither the waiting interrupt nor the answers that its node already has."""
    harness = Harness(*TWO_INTERRUPTS)
    harness.invoke({})
    (second,) = harness.answer("1")["__interrupt__"]
    bad = [[({"log": ["x"]}, "ask")], [({}, "nobody")]]
    with pytest.raises(InvalidUpdateError, match="no node 'nobody'"):
        harness.runner.bulk_update_state(THREAD, bad)
    assert (harness.interrupts, harness.next) == ((second,), ("ask",))
    assert harness.answer("2")["log"] == ["ask 1", "ask 2", "last"]


def test_an_update_of_a_virtual_author_keeps_the_interrupts() -> None:
    """A virtual author's update keeps interrupts and earlier answers.

    The node sees the new values when it runs again.
    """
    harness = Harness(*TWO_INTERRUPTS)
    harness.invoke({})
    (second,) = harness.answer("1")["__interrupt__"]
    harness.runner.update_state(THREAD, {"log": ["note"]}, as_node="human")
    assert harness.interrupts == (second,)
    assert harness.answer({second.id: "2"})["log"] == ["note", "ask 1", "ask 2", "last"]


def test_a_replay_at_an_interrupt_makes_a_new_interrupt() -> None:
    """Replaying a waiting checkpoint makes an interrupt with the same value and another id, on a branch of its own."""
    harness = Harness(*TWO_INTERRUPTS)
    (first,) = harness.invoke({})["__interrupt__"]
    harness.answer("1")
    (replayed,) = harness.runner.invoke(None, harness.runner.get_state(THREAD).config)["__interrupt__"]
    assert (replayed.value, replayed.id == first.id) == ("one", False)


def test_a_fork_on_another_thread_has_its_own_interrupt() -> None:
    """After a fork of a waiting thread, both threads wait, and each gets its own answer."""
    harness = Harness(*ONE_INTERRUPT)
    harness.invoke({})
    harness.runner.fork(THREAD, thread_id="t2")
    elsewhere = config_for("t2")
    assert harness.runner.get_state(elsewhere).interrupts[0].id != harness.interrupts[0].id
    assert harness.runner.invoke(Command(resume="2"), elsewhere)["log"] == ["ask 2", "last"]
    assert harness.answer("1")["log"] == ["ask 1", "last"]


def test_interrupt_refuses_invalid_arguments_and_calls_outside_a_node() -> None:
    """An interrupt's value and default must be plain JSON; its timeout must be positive and needs a default."""
    with pytest.raises(StepgraphError, match=r"interrupt\(\) was called outside a node"):
        interrupt("?")
    refused: list[tuple[Any, str]] = [
        (lambda state: interrupt({1, 2}), "must be plain JSON"),
        (lambda state: interrupt("?", default={1}), "The default of an interrupt"),
        (lambda state: interrupt("?", timeout=1), r"default=\.\.\."),
        (lambda state: interrupt("?", timeout=timedelta(0), default=1), "a positive time"),
    ]
    for node, message in refused:
        with pytest.raises(InvalidUpdateError, match=message):
            MemoryRunner(graph(State, "START > n, n > END", n=node)).invoke({}, THREAD)


def test_an_interrupt_with_a_timeout_has_a_deadline() -> None:
    """An interrupt's deadline is the thread's clock plus its timeout."""

    def ask(state: State) -> dict[str, Any]:
        return {"log": [interrupt("?", timeout=timedelta(hours=1), default="nobody")]}

    runner = MemoryRunner(graph(State, "START > n, n > END", n=ask), clock=lambda: "2025-01-01T00:00:00+00:00")
    (waiting,) = runner.invoke({}, THREAD)["__interrupt__"]
    assert waiting.deadline == "2025-01-01T01:00:00+00:00"
    assert runner.invoke(Command(resume="me"), THREAD)["log"] == ["me"]


CHAIN = ("START > a, a > b, b > c, c > END", {"a": [], "b": [], "c": []})

BREAKPOINTS: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "before one": ({"interrupt_before": ["b"]}, [("b",), ()]),
    "after one": ({"interrupt_after": ["a"]}, [("b",), ()]),
    "before and after one": ({"interrupt_before": ["b"], "interrupt_after": ["b"]}, [("b",), ("c",), ()]),
    "before and after, at the same place": ({"interrupt_before": ["b"], "interrupt_after": ["a"]}, [("b",), ()]),
    "before all": ({"interrupt_before": "*"}, [("a",), ("b",), ("c",), ()]),
    "after all": ({"interrupt_after": "*"}, [("b",), ("c",), ()]),
    "by one name": ({"interrupt_before": "c"}, [("c",), ()]),
}


@pytest.mark.parametrize("where", ["compile", "invoke"])
@pytest.mark.parametrize(("breaks", "expected"), BREAKPOINTS.values(), ids=BREAKPOINTS.keys())
def test_a_breakpoint_pauses_the_thread_until_it_is_resumed(
    breaks: dict[str, Any], expected: list[tuple[str, ...]], where: str
) -> None:
    """Breakpoints are set at compile or for one invoke. They run no node twice and make no checkpoint."""
    harness = Harness(*CHAIN, **(breaks if where == "compile" else {}))
    reached = []
    input_data: Any = {}
    while not reached or reached[-1]:
        result = harness.invoke(input_data, **(breaks if where == "invoke" else {}))
        assert "__interrupt__" not in result
        reached.append(harness.next)
        input_data = None
    assert reached == expected
    assert harness.runs == {"a": 1, "b": 1, "c": 1}
    assert harness.steps == [4, 3, 2, 1, 0]


def test_breakpoints_of_an_invoke_replace_those_of_the_graph() -> None:
    """Breakpoints passed to `invoke` last for that invoke; the next one has the graph's breakpoints again."""
    harness = Harness(*CHAIN, interrupt_before=["b"])
    assert harness.invoke({}, interrupt_before=[])["log"] == ["a", "b", "c"]
    harness.invoke({}, interrupt_before=["c"])
    assert harness.next == ("c",)
    harness.invoke({})
    assert harness.next == ("b",)


def test_a_thread_at_a_breakpoint_can_be_updated_and_resumed() -> None:
    """Nodes after a breakpoint see the values of an update that was made at the breakpoint."""
    for breaks in ({"interrupt_before": ["b"]}, {"interrupt_after": ["a"]}):
        harness = Harness(*CHAIN, **breaks)
        harness.invoke({})
        harness.runner.update_state(THREAD, {"log": ["updated"]}, as_node="human")
        assert harness.invoke()["log"] == ["a", "updated", "b", "c"]


def test_a_replay_passes_the_breakpoint_at_its_checkpoint() -> None:
    """A replay runs the nodes due at its checkpoint despite their breakpoint; later breakpoints pause the thread."""
    harness = Harness(*CHAIN, interrupt_before=["b", "c"])
    harness.invoke({})
    harness.runner.invoke(None, harness.runner.get_state(THREAD).config)
    assert (harness.next, harness.runs) == (("c",), {"a": 1, "b": 1})


def test_a_replay_may_have_breakpoints_of_its_own() -> None:
    """Breakpoints of a replay work as for any invoke. An input at a checkpoint does not pass the breakpoint there."""
    harness = Harness(*CHAIN)
    harness.invoke({})
    first = list(harness.runner.get_state_history(THREAD))[-2].config
    harness.runner.invoke(None, first, interrupt_before="*")
    assert (harness.next, harness.runs["a"]) == (("b",), 2)
    harness.runner.invoke({}, first, interrupt_before="*")
    assert (harness.next, harness.runs["a"]) == (("a",), 2)


def test_a_node_that_failed_after_a_breakpoint_is_resumed_without_a_second_pause() -> None:
    """A breakpoint that was passed stays passed for the later runs of the same super-step."""
    harness = Harness(*CHAIN, interrupt_before=["b"])
    harness.invoke({})
    harness.failing = {"b"}
    with pytest.raises(ConnectionError):
        harness.invoke()
    harness.failing = set()
    assert harness.invoke()["log"] == ["a", "b", "c"]


def test_an_interrupt_after_a_breakpoint_is_answered_without_a_second_pause() -> None:
    """A breakpoint that was passed stays passed in a later run, also after a sibling has failed."""
    harness = Harness(*PARALLEL_INTERRUPTS, interrupt_before=["a"])
    harness.invoke({})
    harness.failing = {"c"}
    with pytest.raises(ConnectionError):
        harness.invoke()
    harness.failing = set()
    a, b = harness.interrupts
    assert [item.value for item in harness.answer({a.id: "1", b.id: "2"})["__interrupt__"]] == ["B!"]
    assert harness.answer("3")["log"] == ["a 1", "b 2", "b 3", "c", "d"]


def test_a_command_at_a_breakpoint_resumes_the_thread() -> None:
    """`Command(resume=...)` at a breakpoint resumes the thread; no interrupt waits, so its value is not used."""
    harness = Harness(*CHAIN, interrupt_before=["b"])
    harness.invoke({})
    assert harness.answer("go")["log"] == ["a", "b", "c"]


def restored_from_record(thread: Thread) -> Thread:
    """Return the thread as its next run restores it, from the JSON text of its record."""
    record = record_of(thread)
    assert record is not None
    record_copy = Record.model_validate_json(json.dumps(json.loads(record.model_dump_json())))
    assert record_copy == record
    restored = thread_from(record_copy, thread.spec, thread_id="t1", run_id="next", clock=lambda: "now")
    assert thread.head is not None
    assert restored.head is not None
    snapshot = snapshot_data(thread, thread.head, as_head=True)
    assert head_in_record(record_copy) == snapshot_data(restored, restored.head, as_head=True) == snapshot
    assert (restored.waiting_interrupts, restored.interrupts, restored.paused) == (
        thread.waiting_interrupts,
        thread.interrupts,
        thread.paused,
    )
    return restored


def test_waiting_interrupts_are_restored_from_the_record() -> None:
    """Interrupts, earlier answers and sibling results are restored, and the restored thread accepts an answer."""
    harness = Harness(*PARALLEL_INTERRUPTS)
    harness.invoke({})
    harness.answer({harness.interrupts[1].id: "x"})
    restored = restored_from_record(harness.thread)
    assert [item.value for item in restored.waiting_interrupts] == ["A?", "B!"]
    assert restored.due() == ()
    restored.answer({restored.waiting_interrupts[1].id: "y"})
    (task,) = restored.due()
    assert (task.node, restored.answers(task)) == ("b", ("x", "y"))


def test_a_pause_at_a_breakpoint_is_restored_from_the_record() -> None:
    """A thread restored from the record of a paused one is paused too, and can pass the breakpoint."""
    harness = Harness(*CHAIN, interrupt_before=["b"])
    harness.invoke({})
    record = record_of(harness.thread)
    assert record is not None
    assert (record.paused, record.next) == (True, ("b",))
    restored = restored_from_record(harness.thread)
    assert restored.due() == ()
    restored.pass_breakpoint()
    assert [task.node for task in restored.due()] == ["b"]
