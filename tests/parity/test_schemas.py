"""Schemas behave alike in stepgraph and LangGraph: of inputs, outputs, nodes and routers, and states of one value."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import answer, invoke, replay, update

cases = Cases()
case = cases.case


class Overall(TypedDict, total=False):
    question: str
    answer: str
    log: Annotated[list[str], add]


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: str


class Notes(TypedDict, total=False):
    """Private: no other class has these keys."""

    notes: list[str]
    seen: Annotated[int, add]


@dataclass
class Draft:
    question: str
    notes: list[str]
    tone: str = "plain"


class Settings(BaseModel):
    size: int = 3
    label: str = "none"
    maybe: str | None = None
    items: Annotated[list[int], add] = Field(default_factory=list)

    @field_validator("label")
    @classmethod
    def in_capitals(cls, label: str) -> str:
        return label.upper()


@pytest.mark.parametrize("case", cases.params)
async def test_schemas_behave_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


def _keys(name: str) -> Any:
    return lambda state: {"log": [f"{name} sees {', '.join(sorted(state))}"], "answer": name}


def _research(state: Question) -> dict[str, Any]:
    return {"notes": [f"on {state['question']}"], "seen": 1, "log": [f"research sees {sorted(state)}"]}


def _write(state: Notes) -> dict[str, Any]:
    return {"answer": "; ".join(state["notes"]), "seen": 2, "log": [f"write sees {sorted(state)}"]}


def _polish(state: Draft) -> dict[str, Any]:
    return {"answer": f"{state.question}, {state.tone}: {len(state.notes)}"}


@case(invoke({"question": "q", "answer": "ignored", "log": ["ignored"]}), invoke({"question": "r"}))
def an_input_sets_the_keys_of_its_own_class(lib: Library) -> Any:
    builder = lib.StateGraph(Overall, input_schema=Question, output_schema=Answer)
    return builder.add_node("n", _keys("n")).add_edge(lib.START, "n").add_edge("n", lib.END)


@case(invoke({"question": "q"}), update({"notes": ["by hand"], "seen": 5}, "research"), invoke({"question": "r"}))
def private_keys_go_from_node_to_node(lib: Library) -> Any:
    builder = lib.StateGraph(Overall, input_schema=Question, output_schema=Answer)
    builder.add_node("research", _research).add_node("write", _write)
    return builder.add_edge(lib.START, "research").add_edge("research", "write").add_edge("write", lib.END)


@case(invoke({"question": "q"}), replay(at=1), update({"question": "f"}, "research", at=2), invoke(None))
def a_node_takes_an_instance_of_the_class_of_its_option(lib: Library) -> Any:
    builder = lib.StateGraph(Overall, output_schema=Answer)
    builder.add_node("research", lambda state: {"notes": [state["question"]]})
    builder.add_node("polish", lambda state: _polish(state), input_schema=Draft)
    return builder.add_edge(lib.START, "research").add_edge("research", "polish").add_edge("polish", lib.END)


@case(invoke({"question": "q"}), answer("yes"))
def an_interrupt_beside_the_keys_of_the_output(lib: Library) -> Any:
    builder = lib.StateGraph(Overall, output_schema=Answer)
    builder.add_node("ask", lambda state: {"answer": lib.interrupt("sure?"), "log": ["asked"]})
    return builder.add_edge(lib.START, "ask").add_edge("ask", lib.END)


@case(invoke({"question": "q"}))
def a_router_of_its_own_class_sees_private_keys(lib: Library) -> Any:
    def router(state: Notes) -> str:
        assert set(state) == {"notes", "seen"}
        return "write" if state["seen"] == 1 else lib.END

    builder = lib.StateGraph(Overall, input_schema=Question)
    builder.add_node("research", _research).add_node("write", _write).add_edge(lib.START, "research")
    return builder.add_conditional_edges("research", router).add_edge("write", lib.END)


@case(invoke({"question": "q"}))
def a_router_without_a_class_sees_what_its_node_sees_and_wrote(lib: Library) -> Any:
    seen: list[str] = []

    def router(state):  # type: ignore[no-untyped-def]
        seen[:] = sorted(state)
        return "report"

    builder = lib.StateGraph(Overall, input_schema=Question)
    builder.add_node("research", _research).add_node("write", _write)
    builder.add_node("report", lambda state: {"log": list(seen)})
    builder.add_edge(lib.START, "research").add_conditional_edges("research", router, ["report", "write"])
    return builder.add_edge("report", lib.END).add_edge("write", lib.END)


@case(invoke({}), invoke({"label": "small"}), invoke({"size": 5, "items": [1]}), invoke({"maybe": "x"}))
def defaults_and_validators_of_a_model_hold_where_a_node_takes_it(lib: Library) -> Any:
    def node(state: Settings) -> dict[str, Any]:
        return {"size": state.size + 1, "items": [len(state.label)]}

    return lib.StateGraph(Settings).add_node("n", node).add_edge(lib.START, "n").add_edge("n", lib.END)


@case(invoke(Settings(label="a")), invoke(Settings(size=9)))
def a_model_as_input_and_as_what_a_node_returns(lib: Library) -> Any:
    def node(state: Settings) -> Settings:
        return Settings(size=state.size + 1, label=state.label)

    return lib.StateGraph(Settings).add_node("n", node).add_edge(lib.START, "n").add_edge("n", lib.END)


@case(invoke({"question": "q"}))
def a_node_returns_an_instance_of_another_class(lib: Library) -> Any:
    """Fields that are no keys of the state are left out."""
    builder = lib.StateGraph(Overall)
    builder.add_node("n", lambda state: Draft("of a draft", ["n"], tone="loud"))
    return builder.add_edge(lib.START, "n").add_edge("n", lib.END)


@case(invoke(["in"]), update(["by hand"]), invoke(["again"]), replay(at=1))
def a_list_is_the_whole_state(lib: Library) -> Any:
    builder = lib.StateGraph(Annotated[list, add])
    builder.add_node("count", lambda state: [len(state)]).add_node("none", lambda state: [])
    return builder.add_edge(lib.START, "count").add_edge("count", "none").add_edge("none", lib.END)


@case(invoke(1), invoke(5), update(0, "triple"), invoke(None))
def a_number_is_the_whole_state(lib: Library) -> Any:
    builder = lib.StateGraph(Annotated[int, lambda left, right: right])
    builder.add_node("triple", lambda state: state * 3).add_node("less", lambda state: state - 1)
    builder.add_edge(lib.START, "triple").add_edge("triple", "less")
    return builder.add_conditional_edges("less", lambda state: "triple" if 0 < state < 20 else lib.END)


@case(invoke(["in"]), answer("yes"))
def an_interrupt_in_a_state_of_one_value(lib: Library) -> Any:
    builder = lib.StateGraph(Annotated[list, add])
    builder.add_node("ask", lambda state: [lib.interrupt("sure?")])
    return builder.add_edge(lib.START, "ask").add_edge("ask", lib.END)
