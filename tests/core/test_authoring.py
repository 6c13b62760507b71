"""Tests of `StateGraph`: the states, nodes, edges and routers that it accepts, and the spec that `compile` makes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from operator import add
from typing import Annotated, Any, Literal, NotRequired, Required

import pytest
from pydantic import BaseModel, Field
from typing_extensions import ReadOnly, TypedDict

from stepgraph import END, START, RetryPolicy, StateGraph
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph, state_of


class AsTypedDict(TypedDict):
    topic: str
    log: Annotated[list[str], add]


@dataclass
class AsDataclass:
    topic: str
    log: Annotated[list[str], add] = field(default_factory=list)


class AsModel(BaseModel):
    topic: str
    log: Annotated[list[str], add] = Field(default_factory=list)


class AsAliasedModel(BaseModel):
    topic: str = Field(alias="the-topic")
    log: Annotated[list[str], add] = Field(default_factory=list, validation_alias="the-log")


def run(compiled: CompiledGraph, input_data: Any) -> dict[str, Any]:
    return MemoryRunner(compiled).invoke(input_data, THREAD)


def note(state: Any) -> dict[str, Any]:
    return {"log": ["noted"]}


@pytest.mark.parametrize("state", [AsTypedDict, AsDataclass, AsModel, AsAliasedModel])
def test_a_state_is_a_typed_dict_a_dataclass_or_a_model(state: type) -> None:
    """Nodes receive an instance of the declared class; the values that `invoke` returns are a plain dict."""
    seen: list[Any] = []

    def look(view: Any) -> dict[str, Any]:
        seen.append(view)
        topic = view["topic"] if state is AsTypedDict else view.topic
        return {"log": [f"saw {topic}"]}

    values = run(graph(state, "START > look, look > END", look=look), {"topic": "tea", "log": ["start"]})
    assert values == {"topic": "tea", "log": ["start", "saw tea"]}
    assert type(seen[0]) is (dict if state is AsTypedDict else state)


def test_an_input_may_be_an_instance_of_the_state() -> None:
    """A dataclass instance sets all its fields; a model instance sets only the fields that were passed to it."""
    for state, input_data, expected in [
        (AsDataclass, AsDataclass("tea"), {"topic": "tea", "log": ["noted"]}),
        (AsModel, AsModel(topic="tea"), {"topic": "tea", "log": ["noted"]}),
        (AsModel, AsModel(topic="tea", log=["x"]), {"topic": "tea", "log": ["x", "noted"]}),
    ]:
        assert run(graph(state, "START > note, note > END", note=note), input_data) == expected


class Qualified(TypedDict, total=False):
    needed: Required[int]
    perhaps: NotRequired[Annotated[list[str], add]]
    fixed: ReadOnly[str]


def test_qualifiers_of_a_typed_dict_do_not_change_its_channels() -> None:
    """`Required`, `NotRequired` and `ReadOnly` change neither a channel's type nor its reducer."""
    channels = StateGraph(Qualified).schema.channels
    assert {channel.name: channel.type_text for channel in channels} == {
        "needed": "int",
        "perhaps": "list[str]",
        "fixed": "str",
    }
    assert channels["perhaps"].reducer is add


class Words(TypedDict, total=False):
    words: Annotated[list[str], add]


class Speaker:
    """A callable object with state of its own."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, state: Words) -> dict[str, Any]:
        return {"words": [self.word]}

    def say(self, state: Words) -> dict[str, Any]:
        return {"words": [f"{self.word}!"]}

    async def whisper(self, state: Words) -> dict[str, Any]:
        return {"words": [f"({self.word})"]}


async def speak_later(state: Words) -> dict[str, Any]:
    return {"words": ["later"]}


def speak(state: Words, *, word: str = "now") -> dict[str, Any]:
    return {"words": [word]}


async def speak_async(state: Words, *, word: str) -> dict[str, Any]:
    return {"words": [word]}


NODES: dict[str, tuple[Callable[..., Any], str]] = {
    "a function": (speak, "now"),
    "an async function": (speak_later, "later"),
    "a lambda": (lambda state: {"words": ["lambda"]}, "lambda"),
    "a callable object": (Speaker("object"), "object"),
    "a method": (Speaker("method").say, "method!"),
    "an async method": (Speaker("soft").whisper, "(soft)"),
    "a partial": (functools.partial(speak, word="part"), "part"),
    "an async partial": (functools.partial(speak_async, word="on"), "on"),
    "a function that returns an awaitable": (lambda state: speak_later(state), "later"),
}


@pytest.mark.parametrize(("node", "word"), NODES.values(), ids=NODES.keys())
def test_a_node_may_be_any_callable_that_takes_the_state(node: Callable[..., Any], word: str) -> None:
    """Sync and async functions, methods, callable objects and partials all work as nodes."""
    assert run(graph(Words, "START > n, n > END", n=node), {}) == {"words": [word]}


def test_add_node_with_only_a_function_uses_its_name() -> None:
    """`add_node(f)` is the same as `add_node("f", f)`."""
    builder = StateGraph(Words).add_node(speak).add_node("then", speak_later)
    builder.add_edge(START, "speak").add_edge("speak", "then").add_edge("then", END)
    assert builder.compile(name="g").registry.spec.node_names == ("speak", "then")


def test_the_options_of_a_node_are_in_the_spec_in_seconds() -> None:
    """Durations may be numbers or timedeltas. A node without options has defaults that suit a long job."""
    builder = StateGraph(Words).add_edge(START, "plain").add_edge("plain", "odd").add_edge("odd", END)
    builder.add_node("plain", speak)
    builder.add_node(
        "odd",
        speak,
        retry_policy=RetryPolicy(initial_interval=200.0, max_attempts=7),
        timeout=timedelta(minutes=2),
        heartbeat_timeout=1.5,
        task_queue="gpu",
    )
    odd, plain = builder.compile(name="g").registry.spec.nodes
    assert (odd.timeout, odd.heartbeat_timeout, odd.task_queue) == (120.0, 1.5, "gpu")
    assert odd.retry is not None
    assert (odd.retry.max_attempts, odd.retry.initial_interval, odd.retry.max_interval) == (7, 200.0, 200.0)
    assert (plain.timeout, plain.heartbeat_timeout, plain.task_queue, plain.retry) == (86400.0, 18.0, None, None)


def test_entry_and_finish_points_are_edges() -> None:
    """`set_entry_point` adds an edge from START, `set_finish_point` an edge to END."""
    builder = StateGraph(Words).add_node(speak).set_entry_point("speak").set_finish_point("speak")
    assert builder.compile(name="g").registry.spec.edges == ((START, "speak"), ("speak", END))


def test_an_edge_added_twice_is_one_edge() -> None:
    """A repeated edge or join triggers its target once and appears once in the spec."""
    compiled = graph(Words, "START > n, START > n, n+m > END, n+m > END, n > m, n > m", n=speak, m=speak)
    assert compiled.registry.spec.edges == ((START, "n"), ("n", "m"))
    assert len(compiled.registry.spec.joins) == 1
    assert run(compiled, {}) == {"words": ["now", "now"]}


def test_a_builder_can_be_extended_after_compile() -> None:
    """A compiled graph never changes: what is added to its builder later is only in the next compiled graph."""
    builder = StateGraph(Words).add_node(speak).add_edge(START, "speak").add_edge("speak", END)
    first = builder.compile(name="first")
    builder.add_node("more", speak_later).add_edge("speak", "more").add_edge("more", END)
    second = builder.compile(name="second")
    assert (run(first, {}), run(second, {})) == ({"words": ["now"]}, {"words": ["now", "later"]})
    assert (first.name, second.name) == ("first", "second")


def to_b(state: Words) -> str:
    return "b"


async def to_b_later(state: Words) -> str:
    return "b"


def to_literal(state: Words) -> Literal["b", "c"]:
    return "b"


def to_literals(state: Words) -> list[Literal["b", "c"]]:
    return ["b"]


def to_an_unknown_annotation(state: Words) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
    return "b"


ROUTERS: dict[str, tuple[Callable[..., Any], Any, tuple[str, ...] | None]] = {
    "a function": (to_b, None, None),
    "an async function": (to_b_later, None, None),
    "a list of destinations": (to_b, ["b", "c"], ("b", "c")),
    "a mapping": (lambda state: True, {True: "b", False: "c"}, ("b", "c")),
    "a Literal": (to_literal, None, ("b", "c")),
    "a list of Literals": (to_literals, None, ("b", "c")),
    "a partial": (functools.partial(to_b), None, None),
    "an annotation that cannot be resolved": (to_an_unknown_annotation, None, None),
}


@pytest.mark.parametrize(("router", "path_map", "ends"), ROUTERS.values(), ids=ROUTERS.keys())
def test_a_router_declares_its_destinations_or_may_lead_anywhere(
    router: Callable[..., Any], path_map: Any, ends: tuple[str, ...] | None
) -> None:
    """Destinations come from a list, a mapping or the return annotation. Routers may be sync or async."""
    builder = StateGraph(Words)
    for name in "abc":
        builder.add_node(name, lambda state, name=name: {"words": [name]})
    builder.add_edge(START, "a").add_conditional_edges("a", router, path_map).add_edge("b", END).add_edge("c", END)
    compiled = builder.compile(name="g")
    assert compiled.registry.spec.branches[0].ends == ends
    assert run(compiled, {}) == {"words": ["a", "b"]}


def test_each_router_of_a_node_gets_its_own_name() -> None:
    """All routers of a node run, even if their functions share a name or a name equals one that was generated."""
    builder = StateGraph(Words)
    for name in "abcd":
        builder.add_node(name, lambda state, name=name: {"words": [name]})
    builder.add_edge(START, "a")

    def router_3(state: Words) -> str:
        return "b"

    builder.add_conditional_edges("a", router_3, ["b"])
    builder.add_conditional_edges("a", lambda state: "c", ["c"]).add_conditional_edges("a", lambda state: "d", ["d"])
    builder.add_conditional_edges("a", lambda state: END, [END])
    for name in "bcd":
        builder.add_edge(name, END)
    assert run(builder.compile(name="g"), {}) == {"words": ["a", "b", "c", "d"]}


def test_equal_graphs_have_equal_specs() -> None:
    """A spec is the same in every process: it contains no object address, and its nodes are sorted by name."""

    class Joiner:
        def __call__(self, left: list[str], right: list[str]) -> list[str]:
            return left + right

    def build_graph() -> CompiledGraph:
        state = state_of(
            {
                "a": Annotated[list[str], functools.partial(add)],
                "b": Annotated[list[str], Joiner()],
                "c": Annotated[int, Field(default_factory=lambda: 3)],
            }
        )
        return graph(state, "START > y, START > x, x > END, y > END", y=speak, x=speak)

    first, second = build_graph().registry.spec, build_graph().registry.spec
    assert first == second
    assert first.hash == second.hash
    assert first.node_names == ("x", "y")
    assert [channel.reducer for channel in first.channels] == ["add", "Joiner", None, "add"]  # the last of `Words`


def test_a_spec_survives_a_json_round_trip() -> None:
    """A spec read back from its JSON is equal to the original and has the same hash."""
    builder = StateGraph(Words).add_node("a", speak, retry_policy=RetryPolicy()).add_node("b", speak)
    builder.add_edge(START, "a").add_edge(["a", "b"], END).add_conditional_edges("a", to_literal, ["b", END])
    spec = builder.compile(name="g").registry.spec
    restored = type(spec).model_validate_json(spec.model_dump_json())
    assert restored == spec
    assert restored.hash == spec.hash
