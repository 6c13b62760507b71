"""Tests of conversations: what may be written as a message, and how messages are merged, without a server."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import langgraph.graph.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

import stepgraph
from stepgraph import END, REMOVE_ALL_MESSAGES, START, MessagesState, StateGraph, add_messages, push_message
from stepgraph.engine.folds import CUSTOM, MESSAGES
from stepgraph.errors import InvalidInputError, NodeError, OutsideNodeError, ReducerError
from stepgraph.execution.channels import make_channel
from stepgraph.serde.error_text import type_text
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph, state_of

LANGGRAPHS: Any = langgraph.graph.message.add_messages


def echo(state: Any) -> Any:
    """A node that answers the last message."""
    last = state["messages"][-1]
    return {"messages": AIMessage(f"You said {last.content}", id=f"to {last.id}")}


def chat(state: type = MessagesState) -> MemoryRunner:
    return MemoryRunner(graph(state, "START > echo, echo > END", echo=echo))


def described(messages: Sequence[Any]) -> list[tuple[str, Any]]:
    """Each message's type and content."""
    return [(message.type, message.content) for message in messages]


@pytest.mark.parametrize(
    "written",
    [
        "hi",
        ["hi"],
        ("user", "hi"),
        [("human", "hi")],
        {"role": "user", "content": "hi"},
        [{"type": "human", "content": "hi"}],
        HumanMessage("hi"),
        [HumanMessage("hi")],
    ],
    ids=str,
)
def test_whatever_stands_for_a_message_may_be_the_input(written: Any) -> None:
    """A text, a pair, a mapping, a message, or a list of them: nodes get messages."""
    result = chat().invoke({"messages": written}, THREAD)
    assert described(result["messages"]) == [("human", "hi"), ("ai", "You said hi")]


def test_a_message_gets_an_id_also_the_callers_own_object() -> None:
    """So a caller can remove or replace the message later. A message with an id keeps it."""
    mine, other = HumanMessage("hi"), HumanMessage("ho", id="2")
    result = chat().invoke({"messages": [mine, other]}, THREAD)
    assert mine.id == result["messages"][0].id
    assert mine.id
    assert [message.id for message in result["messages"][1:]] == ["2", "to 2"]


def test_messages_are_replaced_and_removed_by_id() -> None:
    """By a node's write and by an update; all of them at once, too."""
    runner = chat()
    runner.invoke({"messages": [HumanMessage("hi", id="1")]}, THREAD)
    runner.update_state(THREAD, {"messages": [HumanMessage("hello", id="1"), RemoveMessage("to 1")]}, as_node="echo")
    assert runner.get_state(THREAD).values == {"messages": [HumanMessage("hello", id="1")]}
    everything = RemoveMessage(REMOVE_ALL_MESSAGES)
    runner.update_state(THREAD, {"messages": [everything, SystemMessage("anew", id="3")]}, as_node="echo")
    assert runner.get_state(THREAD).values == {"messages": [SystemMessage("anew", id="3")]}


def test_a_fork_branches_off_with_other_messages() -> None:
    """The branch that it leaves stays as it was."""
    runner = chat()
    runner.invoke({"messages": [HumanMessage("hi", id="1")]}, THREAD)
    before = next(each for each in runner.get_state_history(THREAD) if each.next == ("echo",))
    forked = runner.fork(before.config, {"messages": [HumanMessage("hello", id="1")]}, as_node=START)
    assert described(forked["messages"]) == [("human", "hello"), ("ai", "You said hello")]
    assert described(runner.get_state(before.config).values["messages"]) == [("human", "hi")]


def test_removing_a_message_that_is_not_there_is_an_error() -> None:
    """With LangGraph's words; the thread stays as it was."""
    runner = chat()
    runner.invoke({"messages": "hi"}, THREAD)
    with pytest.raises(ReducerError, match="Attempting to delete a message with an ID that doesn't exist \\('nope'\\)"):
        runner.update_state(THREAD, {"messages": RemoveMessage("nope")}, as_node="echo")
    assert len(runner.get_state(THREAD).values["messages"]) == 2


@pytest.mark.parametrize("written", [7, [None], {"content": "no role"}, ("user",)], ids=str)
def test_what_stands_for_no_message_is_refused(written: Any) -> None:
    """The error names the key and quotes the value."""
    with pytest.raises(InvalidInputError, match="'messages' is declared list\\[AnyMessage\\].* is no message"):
        chat().invoke({"messages": written}, THREAD)


def test_a_node_that_writes_no_message_fails() -> None:
    """As every node whose write does not fit its channel."""
    runner = MemoryRunner(graph(MessagesState, "START > a, a > END", a=lambda state: {"messages": 7}))
    with pytest.raises(NodeError, match="7 is no message"):
        runner.invoke({"messages": "hi"}, THREAD)


def test_messages_keep_their_classes_and_all_their_fields() -> None:
    """Chunks become the messages that they are parts of, as in LangGraph; artifacts come back as what they were."""
    call = {"name": "search", "args": {"q": 1}, "id": "c", "type": "tool_call"}
    written = [
        AIMessage(
            "", id="1", tool_calls=[call], usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        ),
        ToolMessage("found", id="2", tool_call_id="c", artifact={"rows": [(1, 2)]}, status="error"),
        AIMessageChunk("done", id="3", response_metadata={"model": "m"}),
    ]
    seen = []
    runner = MemoryRunner(graph(MessagesState, "START > a, a > END", a=lambda state: seen.append(state["messages"])))
    runner.invoke({"messages": written}, THREAD)
    assert seen[0] == [*written[:2], AIMessage("done", id="3", response_metadata={"model": "m"})]
    assert type(seen[0][2]) is AIMessage


class Note(HumanMessage):
    """A message class of the user's own."""

    stars: int = 0


def test_a_message_class_of_the_authors_own_has_to_be_declared() -> None:
    """An annotation that mentions the class is enough."""
    note = Note("good", id="1", stars=3)
    declared = state_of({"messages": Annotated[list[Note | AnyMessage], add_messages]})
    assert chat(declared).invoke({"messages": note}, THREAD)["messages"][0] == note
    with pytest.raises(InvalidInputError, match="Note is not among the classes.*Mention the class in an annotation"):
        chat().invoke({"messages": note}, THREAD)


@pytest.mark.parametrize("reducer", [add_messages, LANGGRAPHS, add_messages(), LANGGRAPHS()], ids=range(4))
@pytest.mark.parametrize(
    "annotation", [list, list[AnyMessage], list[BaseMessage], Sequence[BaseMessage]], ids=type_text
)
def test_ours_and_langgraphs_reducer_are_the_same_built_in_fold(reducer: Any, annotation: Any) -> None:
    """A program may import either, and a deployment may change from one to the other."""
    spec = make_channel("messages", Annotated[annotation, reducer]).spec
    assert spec.fold == MESSAGES
    assert spec.zero == []
    assert spec.fingerprint == make_channel("messages", Annotated[list, add_messages]).spec.fingerprint


@pytest.mark.parametrize("reducer", [add_messages, LANGGRAPHS], ids=["ours", "langgraph's"])
def test_messages_can_be_kept_in_the_form_of_openais_api(reducer: Any) -> None:
    """The reducer then formats all messages at each write, so it runs where the graph's code is."""
    annotation = Annotated[list, reducer(format="langchain-openai")]
    assert make_channel("messages", annotation).spec.fold == CUSTOM
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "1234"}}
    runner = MemoryRunner(graph(state_of({"messages": annotation}), "START > a, a > END", a=lambda state: None))
    content = runner.invoke({"messages": HumanMessage([image])}, THREAD)["messages"][0].content
    assert content == [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,1234"}}]


IDS = st.sampled_from(["a", "b", "c"])
PARTS = st.tuples(st.sampled_from([HumanMessage, AIMessage]), st.sampled_from(["", "x", "y"]), IDS)
MESSAGE = PARTS.map(lambda parts: parts[0](parts[1], id=parts[2]))
CHANGE = MESSAGE | (IDS | st.just(REMOVE_ALL_MESSAGES)).map(lambda id: RemoveMessage(id))


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        return str(error)


@settings(deadline=None)
@given(st.lists(MESSAGE, max_size=4), st.lists(CHANGE, max_size=4))
def test_add_messages_gives_what_langgraphs_gives(left: list[Any], right: list[Any]) -> None:
    """For direct callers; errors included."""
    assert outcome(add_messages, left, right) == outcome(LANGGRAPHS, left, right)


@settings(deadline=None)
@given(st.lists(st.lists(CHANGE, max_size=4), max_size=4))
def test_a_conversation_is_what_langgraphs_reducer_makes_of_its_writes(writes: list[list[Any]]) -> None:
    """Through encoding, the fold on JSON data, and decoding."""
    runner = chat()
    for write in writes:
        before = runner.get_state(THREAD).values.get("messages", [])
        expected = outcome(LANGGRAPHS, before, write)
        if isinstance(expected, str):
            with pytest.raises(ReducerError, match=re.escape(expected)):
                runner.update_state(THREAD, {"messages": write}, as_node="echo")
        else:
            runner.update_state(THREAD, {"messages": write}, as_node="echo")
            assert runner.get_state(THREAD).values["messages"] == expected


def test_add_messages_refuses_half_of_its_arguments() -> None:
    """As LangGraph's."""
    with pytest.raises(ValueError, match="one of them is None"):
        add_messages([HumanMessage("hi")])
    with pytest.raises(ValueError, match="format='langchain-openai' or None; got 'xml'"):
        add_messages([], [], format="xml")  # type: ignore[arg-type]


def test_a_state_may_extend_the_state_of_messages() -> None:
    """By a subclass with more keys."""

    class State(MessagesState):
        summary: str

    builder = StateGraph(State)
    builder.add_node("sum", lambda state: {"summary": state["messages"][-1].text.upper()})
    builder.add_edge(START, "sum")
    builder.add_edge("sum", END)
    result = MemoryRunner(builder.compile(name="g")).invoke({"messages": "hi"}, THREAD)
    assert result["summary"] == "HI"


def test_a_program_without_messages_needs_no_langchain() -> None:
    """The error of one that needs it says what to install."""
    code = """
        import sys
        sys.modules["langchain_core"] = None  # as if it were not installed
        from typing import TypedDict
        from stepgraph import END, START, StateGraph
        from stepgraph.testing import MemoryRunner

        class State(TypedDict):
            a: int

        builder = StateGraph(State)
        builder.add_node("n", lambda state: {"a": state["a"] + 1})
        builder.add_edge(START, "n")
        builder.add_edge("n", END)
        print(MemoryRunner(builder.compile(name="g")).invoke({"a": 1}, {"configurable": {"thread_id": "t"}}))
        try:
            from stepgraph import MessagesState
        except Exception as error:
            print(type(error).__name__, error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [
        "{'a': 2}",
        "GraphDefinitionError stepgraph.MessagesState needs LangChain, which is not installed: "
        "pip install 'stepgraph[langgraph]'.",
    ]


def test_a_node_may_push_messages_while_it_runs() -> None:
    """They come before what it returns, by which they can be replaced; a message without a key is not recorded."""

    def node(state: Any) -> Any:
        assert push_message({"role": "ai", "content": "thinking", "id": "1"}).id == "1"
        push_message(AIMessage("a hint", id="2"))
        push_message(AIMessage("not for the record", id="3"), state_key=None)
        return {"messages": AIMessage("done", id="1")}

    runner = MemoryRunner(graph(MessagesState, "START > a, a > END", a=node))
    assert described(runner.invoke({"messages": "hi"}, THREAD)["messages"]) == [
        ("human", "hi"),
        ("ai", "done"),
        ("ai", "a hint"),
    ]


def test_a_pushed_message_needs_an_id_and_a_node() -> None:
    """As in LangGraph."""
    with pytest.raises(ValueError, match="takes a message with an id"):
        push_message("hi")
    with pytest.raises(OutsideNodeError, match="push_message\\(\\) was called outside a node"):
        push_message(AIMessage("hi", id="1"))


def test_the_names_are_public() -> None:
    """Users import them from the package itself."""
    assert {"MessagesState", "REMOVE_ALL_MESSAGES", "add_messages", "push_message"} <= set(stepgraph.__all__)
