"""Tests of a `Command` in place of an input: it writes, leads to further nodes, and answers interrupts."""

from __future__ import annotations

import re
from operator import add
from typing import Annotated, Any

import langgraph.types
import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, Command, Overwrite, Send, StateGraph, interrupt
from stepgraph.errors import InvalidInputError, InvalidUpdateError, SerializationError, ThreadError
from stepgraph.testing import MemoryRunner

THREAD = {"configurable": {"thread_id": "t"}}


def longer(left: str, right: str) -> str:
    return max(left, right, key=len)


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    n: int
    text: Annotated[str, longer]


def says(name: str) -> Any:
    return lambda view: {"log": [f"{name}{view.get('n', '')}"]}


def ask(state: State) -> dict[str, Any]:
    return {"log": [f"ask{state.get('n', '')} {interrupt('?')}"]}


def runner(*, asks: bool = True) -> MemoryRunner:
    """Return a graph that runs ``a`` and then asks, or ends. Only commands lead to ``c``; ``z`` is deferred."""
    builder = StateGraph(State).add_node("a", says("a"), destinations=["c", "z"]).add_node("ask", ask)
    builder.add_node("c", says("c")).add_node("z", says("z"), defer=True).add_node("after", says("after"))
    builder.add_edge(START, "a").add_edge("ask", "after").add_edge("a", "ask" if asks else "after")
    if not asks:
        builder.add_edge("after", "ask").add_edge("ask", END)
    return MemoryRunner(builder.compile(name="g", interrupt_before=() if asks else ["ask"]))


def test_a_command_answers_writes_and_leads_on_at_once() -> None:
    """Nodes read what it writes. What it leads to runs beside the tasks that are due, in their super-step."""
    graph = runner()
    graph.invoke({"n": 1}, THREAD)
    command = Command(resume="yes", update={"log": ["hand"], "n": 2}, goto=["c", Send("c", {"n": 5}), "c"])
    assert graph.invoke(command, THREAD)["log"] == ["a1", "hand", "ask2 yes", "c2", "c5", "after2"]
    written = next(each for each in graph.get_state_history(THREAD) if each.metadata["source"] == "update")
    assert written.metadata["writes"] == {"__input__": {"log": ["hand"], "n": 2}}
    assert written.next == ("c", "ask", "c")


def test_a_command_without_an_answer_leaves_the_interrupt_waiting() -> None:
    """What it leads to runs meanwhile, and is kept."""
    graph = runner()
    graph.invoke({}, THREAD)
    paused = graph.invoke(Command(goto="c"), THREAD)
    assert (paused["log"], [each.value for each in paused["__interrupt__"]]) == (["a", "c"], ["?"])
    assert graph.get_state(THREAD).next == ("ask",)
    assert graph.invoke(Command(resume="now"), THREAD)["log"] == ["a", "ask now", "c", "after"]


def test_a_command_leads_on_from_a_finished_thread() -> None:
    """LangGraph's own class, pairs, an `Overwrite` and a custom reducer are taken, too."""
    graph = runner()
    graph.invoke({}, THREAD)
    graph.invoke(Command(resume="x"), THREAD)
    assert graph.invoke(langgraph.types.Command(goto="c"), THREAD)["log"][-1] == "c"
    assert graph.invoke(Command(update=[("text", "longest"), ("text", "b")]), THREAD)["text"] == "longest"
    overwritten = graph.invoke(Command(update={"log": Overwrite(["new"])}, goto=END), THREAD)
    assert (overwritten["log"], overwritten["text"]) == (["new"], "longest")
    assert graph.invoke(Command(update={"log": ["u"]}, goto="ask"), THREAD)["log"] == ["new", "u"]
    assert graph.invoke(Command(resume="y"), THREAD)["log"] == ["new", "u", "ask y", "after"]


def test_a_command_goes_on_past_a_breakpoint() -> None:
    """It stands for a resume: what is due at the breakpoint runs."""
    graph = runner(asks=False)
    assert graph.invoke({}, THREAD)["log"] == ["a", "after"]
    result = graph.invoke(Command(update={"n": 3}), THREAD)
    assert [each.value for each in result["__interrupt__"]] == ["?"]
    assert result["n"] == 3


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "an unknown node": (
        Command(goto="af"),
        InvalidUpdateError,
        "The Command leads to 'af', which is not a node of graph 'g'.",
    ),
    "a send to END": (Command(goto=Send(END, 1)), InvalidUpdateError, "The Command leads to '__end__', which is not"),
    "no node": (Command(goto=[3]), InvalidUpdateError, "A Command's goto names nodes, or has Sends; got int."),
    "an unknown key": (
        Command(resume=1, update={"lgo": []}),
        InvalidInputError,
        "has a key 'lgo' that its state",
    ),
    "an input that is no data": (Command(goto=Send("c", object())), SerializationError, "The Command cannot send this"),
    "the graph around it": (Command(graph=Command.PARENT), InvalidUpdateError, "There is no parent graph"),
    "an answer for another": (
        Command(resume={"0" * 16: 1}, update={"n": 5}, goto="c"),
        InvalidUpdateError,
        "No interrupt '0000000000000000' waits",
    ),
}


@pytest.mark.parametrize(("command", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_command_is_taken_completely_or_not_at_all(command: Any, kind: type[Exception], message: str) -> None:
    """A refused one leaves the thread as it was."""
    graph = runner()
    graph.invoke({}, THREAD)
    before = graph.get_state(THREAD)
    with pytest.raises(kind, match=re.escape(message)):
        graph.invoke(command, THREAD)
    assert graph.get_state(THREAD) == before


def test_a_command_needs_a_thread() -> None:
    """It leads on from a checkpoint."""
    with pytest.raises(ThreadError, match="Thread 't' does not exist"):
        runner().invoke(Command(goto="c"), THREAD)


def test_a_copy_of_a_checkpoint_has_its_parent_and_its_tasks() -> None:
    """`as_node="__copy__"`: a further head with the same values, whose tasks run again."""
    graph = runner()
    graph.invoke({}, THREAD)
    history = list(graph.get_state_history(THREAD))
    copied = graph.update_state(history[1].config, None, as_node="__copy__")
    head = graph.get_state(THREAD)
    assert head.config == copied
    assert (head.values, head.next, head.parent_config) == (history[1].values, ("a",), history[1].parent_config)
    assert (head.metadata["source"], head.metadata["step"]) == ("fork", history[1].metadata["step"] + 1)
    assert graph.invoke(None, THREAD)["log"] == ["a"]
    graph.update_state(history[1].config, [({"log": ["by hand"]}, "a")], as_node="__copy__")
    assert graph.get_state(THREAD).next == ("ask",)
    assert graph.get_state(THREAD).values["log"] == ["by hand"]
    with pytest.raises(InvalidUpdateError, match="A copy has the checkpoint's values"):
        graph.update_state(THREAD, {"n": 1}, as_node="__copy__")
    with pytest.raises(InvalidUpdateError, match="Thread 'other' has no checkpoint to copy"):
        graph.update_state({"configurable": {"thread_id": "other"}}, None, as_node="__copy__")


@pytest.mark.parametrize("at", [0, 2])
def test_an_update_as_input_waits_for_the_next_resume(at: int) -> None:
    """`as_node="__input__"`: an input checkpoint, at the head or at an earlier checkpoint. No node runs."""
    graph = runner()
    graph.invoke({"n": 1}, THREAD)
    target = list(graph.get_state_history(THREAD))[at]
    graph.update_state(target.config, {"n": 7}, as_node="__input__")
    head = graph.get_state(THREAD)
    assert (head.next, head.values, head.parent_config) == ((START,), target.values, target.config)
    assert (head.metadata["source"], head.metadata["step"]) == ("input", target.metadata["step"] + 1)
    assert graph.invoke(None, THREAD)["log"][-1] == "a7"
    with pytest.raises(InvalidUpdateError, match="An update as '__input__' has values: the input"):
        graph.update_state(THREAD, None, as_node="__input__")
    with pytest.raises(InvalidUpdateError, match="is the only one of its super-step"):
        graph.bulk_update_state(THREAD, [[({"n": 1}, "__input__"), ({"n": 1}, "a")]])
