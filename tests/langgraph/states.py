"""Programs about states: channels of every kind, classes, managed values, what nodes get beside the state."""

from __future__ import annotations

import dataclasses
import enum
import operator
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict
from uuid import UUID

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.channels import EphemeralValue, LastValue, Topic, UntrackedValue
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, push_message
from langgraph.managed import IsLastStep, RemainingSteps
from pydantic import BaseModel

from tests.langgraph.programs import Programs

programs = Programs()
program = programs.program


class Channels(TypedDict):
    """A state with every kind of channel that a state may have."""

    brief: Annotated[str, EphemeralValue]
    topic: Annotated[list[str], Topic(str)]
    all: Annotated[list[str], Topic(str, accumulate=True)]
    last: Annotated[int, LastValue]
    total: Annotated[int, operator.add]
    merged: Annotated[dict[str, int], operator.or_]
    is_last: IsLastStep
    remaining: RemainingSteps
    log: Annotated[list[str], operator.add]


@program({"log": [], "topic": ["given"]})
def channels() -> Any:
    """Each of four nodes notes what it sees; the first writes to all channels, the third to some again."""
    builder = StateGraph(Channels)
    writes: dict[str, dict[str, Any]] = {
        "a": {"brief": "E", "topic": "t", "all": ["A", "B"], "last": 1, "total": 2, "merged": {"a": 1}},
        "c": {"topic": ["c"], "all": "C", "total": 3, "merged": {"b": 2}},
    }

    def node(name: str) -> Any:
        def run(state: Any) -> Any:
            seen = {key: state[key] for key in sorted(state) if key not in ("log", "remaining")}
            return {"log": [f"{name} sees {seen}"], **writes.get(name, {})}

        return run

    for name in "abcd":
        builder.add_node(name, node(name))
    return builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c").add_edge("c", "d").compile()


def longest(left: str, right: str) -> str:
    """A reducer of the program's own."""
    return max(left, right, key=len)


class Texts(TypedDict):
    """A state with a custom reducer."""

    text: Annotated[str, longest]


@program({"text": "abc"})
def a_custom_reducer() -> Any:
    """Three nodes side by side write to a channel with a reducer of the program's own."""
    builder = StateGraph(Texts)
    for text in ("ab", "abcde", "abcd"):
        builder.add_node(text, lambda state, text=text: {"text": text}).add_edge(START, text)
    builder.add_node("last", lambda state: {"text": state["text"] + "!"}).add_edge(["ab", "abcd", "abcde"], "last")
    return builder.compile()


class Colour(enum.Enum):
    """A class that a state mentions."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A class that a state mentions."""

    x: int
    colour: Colour = Colour.RED


class Order(BaseModel):
    """A class that a state mentions."""

    id: UUID
    points: list[Point] = []
    at: datetime | None = None


class Anything(TypedDict):
    """A state of values that say nothing of their classes, and of some that do."""

    history: list
    any: Any
    data: dict
    order: Order
    point: Point | None


@program({"history": [HumanMessage("h", id="1")], "any": 1, "data": {}, "point": Point(3)}, loses=True)
def values_of_many_classes() -> Any:
    """Messages in a bare list and in artifacts, tuples, sets, documents, models: all come back as they were."""
    order = Order(id=UUID(int=7), points=[Point(1)], at=datetime(2026, 1, 2, tzinfo=UTC))

    def write(state: Anything) -> Any:
        answer = AIMessage("x", tool_calls=[{"name": "t", "args": {"k": [1, None]}, "id": "1", "type": "tool_call"}])
        tool = ToolMessage("r", tool_call_id="1", artifact={"inside": HumanMessage("deep")})
        data = {"system": SystemMessage("s"), "pair": (1, 2), "set": {3}, 4: "four"}
        document = Document("text", metadata={"page": 1})
        return {"history": [*state["history"], answer, tool], "any": document, "data": data, "order": order}

    def read(state: Anything) -> Any:
        artifact = state["history"][-1].artifact["inside"]
        seen = [artifact, state["any"], *state["data"].values(), state["order"], state["point"]]
        return {"history": [*state["history"], [type(each).__name__ for each in seen]]}

    builder = StateGraph(Anything).add_node("write", write).add_node("read", read)
    return builder.add_edge(START, "write").add_edge("write", "read").compile()


class Form(BaseModel):
    """A state that is a pydantic model."""

    history: list[Any] = []
    number: int = 0


@program({"number": "1"})
def a_pydantic_state() -> Any:
    """Nodes and routers get instances of the model, made of values that pydantic converts."""

    def grow(state: Form) -> Form:
        return Form(history=[*state.history, HumanMessage("x", id="m")], number=state.number + 1)

    def route(state: Form) -> str:
        return "times" if isinstance(state, Form) and state.number == 2 else END

    builder = StateGraph(Form).add_node("grow", grow).add_node("times", lambda state: {"number": state.number * 10})
    return builder.add_edge(START, "grow").add_conditional_edges("grow", route, ["times", END]).compile()


@dataclasses.dataclass
class Counted:
    """A state that is a dataclass."""

    log: Annotated[list[str], operator.add] = dataclasses.field(default_factory=list)
    number: int = 5


@program({"log": ["in"]})
def a_dataclass_state() -> Any:
    """Nodes get instances of the dataclass, with its defaults."""
    builder = StateGraph(Counted).add_node("a", lambda state: {"log": [f"a {state.number}"], "number": 6})
    builder.add_node("b", lambda state: Counted(log=[f"b {state.number}"], number=7))
    return builder.add_edge(START, "a").add_edge("a", "b").compile()


class Input(TypedDict):
    """What an input may set."""

    question: str


class Output(TypedDict):
    """What a result shows."""

    answer: str


class Whole(TypedDict):
    """The whole state."""

    question: str
    notes: Annotated[list[str], operator.add]
    answer: str


@program({"question": "why?", "notes": ["not taken"], "unknown": 1})
def input_and_output_schemas() -> Any:
    """An input sets the keys of its schema alone, and a result shows those of the output's."""
    builder = StateGraph(Whole, input_schema=Input, output_schema=Output)
    builder.add_node("note", lambda state: {"notes": [state["question"]]})
    builder.add_node("answer", lambda state: {"answer": f"because of {state['notes']}"})
    return builder.add_edge(START, "note").add_edge("note", "answer").compile()


@program({"messages": "hello"})
def messages() -> Any:
    """A chat: texts and tuples become messages, one is replaced by its id, one removed, then all."""

    def answer(state: MessagesState) -> Any:
        return {"messages": [("ai", "one"), AIMessage("two", id="two"), {"role": "user", "content": "three"}]}

    def replace(state: MessagesState) -> Any:
        return {"messages": [AIMessage("TWO", id="two"), RemoveMessage(id=state["messages"][0].id)]}

    def restart(state: MessagesState) -> Any:
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage(f"{len(state['messages'])} before")]}

    builder = StateGraph(MessagesState).add_node("answer", answer).add_node("replace", replace)
    builder.add_node("restart", restart).add_edge(START, "answer").add_edge("answer", "replace")
    return builder.add_edge("replace", "restart").compile()


class Untracked(TypedDict):
    """A state with a channel that no checkpoint has."""

    secret: Annotated[str, UntrackedValue]
    log: Annotated[list[str], operator.add]


@program({"log": ["in"], "secret": "given"})
def an_untracked_value() -> Any:
    """Nodes share a value that no snapshot shows."""
    builder = StateGraph(Untracked).add_node("a", lambda state: {"log": [state["secret"]], "secret": "changed"})
    builder.add_node("b", lambda state: {"log": [state["secret"]]})
    return builder.add_edge(START, "a").add_edge("a", "b").compile()


@program({"messages": "hello"})
def pushed_messages() -> Any:
    """`push_message` writes a message while the node runs, before what the node returns."""

    def push(state: MessagesState) -> Any:
        push_message(AIMessage("pushed", id="p"))
        return {"messages": [AIMessage("returned", id="r")]}

    return StateGraph(MessagesState).add_node("push", push).add_edge(START, "push").compile()
