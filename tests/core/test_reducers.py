"""Channels: how writes meet values, and what happens when they do not fit together."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from stepgraph.engine.channels import NOTHING, make_channel
from stepgraph.errors import InvalidUpdateError, ReducerError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph, state_of


class Complete(TypedDict):
    key: str


class Partial(TypedDict, total=False):
    key: str


@dataclass
class Tally:
    counts: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class Named:
    name: str


class Numbered(BaseModel):
    number: int = 0


class Stamped(BaseModel):
    stamp: object = Field(default_factory=lambda: next(STAMPS))


STAMPS = iter(range(1_000_000))


def keep(left: Any, right: Any) -> Any:
    return left


ZEROS: dict[str, tuple[Any, Any]] = {
    "int": (int, 0),
    "float": (float, 0.0),
    "str": (str, ""),
    "bool": (bool, False),
    "list": (list[str], []),
    "bare list": (list, []),
    "dict": (dict[str, int], {}),
    "set": (set[str], set()),
    "tuple": (tuple[int, ...], ()),
    "Sequence": (Sequence[str], []),
    "a constrained list": (Annotated[list[str], Field(max_length=3)], []),
    "a dataclass with defaults": (Tally, Tally()),
    "a model with defaults": (Numbered, Numbered()),
    "a TypedDict that wants nothing": (Partial, {}),
    "a dataclass that wants arguments": (Named, NOTHING),
    "a TypedDict that wants keys": (Complete, NOTHING),
    "an int above nought": (Annotated[int, Field(gt=0)], NOTHING),
    "a tuple of two": (tuple[int, int], NOTHING),
    "a union": (list[str] | None, NOTHING),
    "Any": (Any, NOTHING),
    "a value that is never twice the same": (Stamped, NOTHING),
}


@pytest.mark.parametrize(("declared", "zero"), ZEROS.values(), ids=ZEROS.keys())
def test_the_first_write_meets_the_zero_of_the_type(declared: Any, zero: Any) -> None:
    """Where it has one that its own type allows; otherwise the first write is the value."""
    channel = make_channel("x", Annotated[declared, keep])
    assert channel.zero() == zero
    assert type(channel.zero()) is type(zero)
    assert make_channel("x", declared).zero() is NOTHING


def test_a_zero_is_a_new_value_each_time() -> None:
    """Whoever fills one harms no other."""
    channel = make_channel("x", Annotated[Tally, keep])
    channel.zero().counts["a"] = [1]
    assert channel.zero() == Tally()


class Folding(TypedDict, total=False):
    total: Annotated[int, operator.add]
    most: Annotated[int, max]
    words: Annotated[list[str], operator.add]
    flags: Annotated[dict[str, int], operator.or_]
    doc: Annotated[Complete, lambda left, right: {**left, **right}]
    part: Annotated[str, functools.partial(lambda sep, left, right: f"{left}{sep}{right}", "-")]
    last: str


def test_a_reducer_folds_each_write_in() -> None:
    """The input, then every node's, in order; without a reducer the last write stands."""
    given = {"total": 1, "most": 3, "words": ["in"], "flags": {"in": 1}, "doc": {"key": "in"}, "last": "in"}

    def node(state: Folding) -> dict[str, Any]:
        return {"total": 2, "most": 2, "words": ["n"], "flags": {"n": 1}, "doc": {"key": "n"}, "part": "n", "last": "n"}

    assert MemoryRunner(graph(Folding, "START > n, n > END", n=node)).invoke(given, THREAD) == {
        "total": 3,
        "most": 3,
        "words": ["in", "n"],
        "flags": {"in": 1, "n": 1},
        "doc": {"key": "n"},
        "part": "-n",
        "last": "n",
    }


def take_words(left: list[str], right: str | list[str]) -> list[str]:
    return [*left, *([right] if isinstance(right, str) else right)]


class Taker:
    def __call__(self, left: list[str], right: Any) -> list[str]:
        return [*left, str(right)]


def remember(left: list[str], right: Named) -> list[str]:
    return [*left, right.name]


WRITES: dict[str, tuple[Callable[[Any, Any], Any], Any, list[str]]] = {
    "its annotated update": (take_words, "one", ["one"]),
    "the channel's own type as well": (take_words, ["one", "two"], ["one", "two"]),
    "a dataclass": (remember, Named("x"), ["x"]),
    "plain JSON, where it says nothing": (lambda left, right: [*left, str(right)], {"a": [1]}, ["{'a': [1]}"]),
    "the same for an object": (Taker(), 5, ["5"]),
    "the same for a partial": (functools.partial(lambda n, left, right: [*left, right * n], 2), "x", ["xx"]),
}


@pytest.mark.parametrize(("reducer", "write", "value"), WRITES.values(), ids=WRITES.keys())
def test_a_node_may_write_what_the_reducer_takes(reducer: Callable[..., Any], write: Any, value: list[str]) -> None:
    """By the annotation of its second parameter; a reducer without one takes plain JSON of any shape."""
    state = state_of({"x": Annotated[list[str], reducer]})
    compiled = graph(state, "START > n, n > END", n=lambda view: {"x": write})
    assert MemoryRunner(compiled).invoke({}, THREAD) == {"x": value}


class Counted(TypedDict, total=False):
    count: Annotated[int, lambda left, right: left + right]


@pytest.mark.parametrize("write", [True, 1.0, "1"])
def test_a_write_of_another_type_is_never_taken_for_the_channels_own(write: Any) -> None:
    """`True` is no count, though Python finds it equal to 1; nor does a text become a number."""
    runner = MemoryRunner(graph(Counted, "START > n, n > END", n=lambda state: {"count": write}))
    with pytest.raises(InvalidUpdateError, match="Channel 'count' is declared int and cannot take this"):
        runner.invoke({}, THREAD)


class Clashing(TypedDict, total=False):
    text: str
    log: Annotated[list[str], operator.add]


def clashing(mended: list[bool]) -> CompiledGraph:
    return graph(
        Clashing,
        "START > a, START > b, a > END, b > END",
        a=lambda state: {"text": "a", "log": ["a"]},
        b=lambda state: {"log": ["b"]} if mended else {"text": "b", "log": ["b"]},
    )


def test_two_writers_of_one_channel_are_an_error_that_shows_the_mend() -> None:
    """It names channel, nodes and step. The thread stays readable: both results are kept, nothing was applied."""
    runner = MemoryRunner(clashing([]))
    told = (
        r"Channel 'text' got 2 values in step 2 \(from 'a', 'b'\)\. Give it a reducer: "
        r"Annotated\[str, operator\.add\], say\."
    )
    with pytest.raises(InvalidUpdateError, match=told) as caught:
        runner.invoke({"text": "in"}, THREAD)
    assert (caught.value.channel, caught.value.nodes, caught.value.step) == ("text", ["a", "b"], 2)
    head = runner.get_state(THREAD)
    assert head.values == {"text": "in", "log": []}
    assert head.next == ("a", "b")
    assert [task.result for task in head.tasks] == [{"text": "a", "log": ["a"]}, {"text": "b", "log": ["b"]}]


def test_a_thread_with_clashing_writes_is_repaired_by_a_new_input() -> None:
    """It discards what clashed; the nodes, mended, run again."""
    mended: list[bool] = []
    runner = MemoryRunner(clashing(mended))
    with pytest.raises(InvalidUpdateError):
        runner.invoke({"text": "in"}, THREAD)
    with pytest.raises(InvalidUpdateError):
        runner.invoke(None, THREAD)
    mended.append(True)
    assert runner.invoke({"text": "again"}, THREAD) == {"text": "a", "log": ["a", "b"]}


def test_one_node_that_writes_a_plain_channel_twice_is_two_writers() -> None:
    """A list of mappings is applied in order, so only a reducer can take both."""
    runner = MemoryRunner(graph(Clashing, "START > a, a > END", a=lambda state: [{"text": "1"}, {"text": "2"}]))
    with pytest.raises(InvalidUpdateError, match=r"Channel 'text' got 2 values in step 2 \(from 'a', 'a'\)"):
        runner.invoke({}, THREAD)


class Fragile(TypedDict, total=False):
    x: Annotated[list[str], lambda left, right: left + right if right != ["bad"] else 1 // 0]


def test_a_reducer_that_raises_is_an_error_that_names_its_channel() -> None:
    """And the node whose write it could not take, the step, and its own words; a resume tries it again."""
    runner = MemoryRunner(
        graph(
            Fragile,
            "START > a, START > b, a > END, b > END",
            a=lambda state: {"x": ["a"]},
            b=lambda state: {"x": ["bad"]},
        )
    )
    told = (
        r"The reducer of channel 'x' failed in step 2 on what 'b' wrote: ZeroDivisionError: integer division .*resume"
    )
    for given in ({"x": ["in"]}, None):
        with pytest.raises(ReducerError, match=told) as caught:
            runner.invoke(given, THREAD)
        assert (caught.value.channel, caught.value.node, caught.value.step) == ("x", "b", 2)
        head = runner.get_state(THREAD)
        assert (head.values, head.next) == ({"x": ["in"]}, ("a", "b"))


def test_a_reducer_that_raises_on_the_input_leaves_the_input_checkpoint() -> None:
    """A mended graph, or another input, goes on from there."""
    runner = MemoryRunner(graph(Fragile, "START > a, a > END", a=lambda state: {"x": ["a"]}))
    with pytest.raises(ReducerError, match="on what '__start__' wrote"):
        runner.invoke({"x": ["bad"]}, THREAD)
    assert runner.get_state(THREAD).next == ("__start__",)
    assert runner.invoke({"x": ["good"]}, THREAD) == {"x": ["good", "a"]}


def test_a_mended_reducer_takes_what_the_nodes_had_written() -> None:
    """The resume commits their kept results; no node runs again."""
    broken, runs = [True], []

    def merge(left: list[str], right: list[str]) -> list[str]:
        if broken:
            raise RuntimeError("not yet")
        return left + right

    def node(state: Any) -> dict[str, Any]:
        runs.append("n")
        return {"y": ["n"]}

    state = state_of({"y": Annotated[list[str], merge]})
    runner = MemoryRunner(graph(state, "START > n, n > m, m > END", n=node, m=lambda view: {"y": ["m"]}))
    with pytest.raises(ReducerError):
        runner.invoke({}, THREAD)
    broken.clear()
    assert runner.invoke(None, THREAD) == {"y": ["n", "m"]}
    assert runs == ["n"]


MISMADE: dict[str, tuple[Any, Callable[[Any, Any], Any], str]] = {
    "another type": (list[str], lambda left, right: {"not": "a list"}, "made a dict .* expected list"),
    "None": (list[str], lambda left, right: None, "made a NoneType"),
    "a tuple that would become a list": (Any, lambda left, right: (left, right), "made a tuple .* come back as list"),
    "a set in a list of anything": (list[Any], lambda left, right: [{1}], "made a list .* one with list for set"),
    "a text that is no JSON": (str, lambda left, right: "\ud800", "made a str .* surrogates not allowed"),
    "itself": (list[Any], lambda left, right: left.append(left) or left, "made a list .* Circular reference"),
}


@pytest.mark.parametrize(("declared", "reducer", "told"), MISMADE.values(), ids=MISMADE.keys())
def test_a_reducer_that_makes_what_its_channel_cannot_hold_is_an_error(
    declared: Any, reducer: Callable[..., Any], told: str
) -> None:
    """At the commit that made it: not in a later run that reads something else than was there."""
    state = state_of({"x": Annotated[declared, reducer]})
    write = "w" if declared in (Any, str) else ["w"]
    runner = MemoryRunner(
        graph(state, "START > n, n > m, m > END", n=lambda view: {"x": write}, m=lambda view: {"x": write})
    )
    with pytest.raises(ReducerError, match=f"The reducer of channel 'x' {told}") as caught:
        runner.invoke({}, THREAD)
    assert caught.value.channel == "x"
    assert caught.value.node in ("n", "m")


def append(left: list[list[str]], right: list[str]) -> list[list[str]]:
    """Changes what it is given, and what is inside it."""
    if left:
        left[0].append("changed")
    left.append(right)
    return left


def tally(left: Tally, right: str) -> Tally:
    left.counts.setdefault(right, []).append(1)
    return left


def hoard(left: list[str], right: list[str], *, seen: list[list[str]] = []) -> list[str]:  # noqa: B006 (the point)
    """Keeps what it was given and changes it later."""
    for old in seen:
        old.append("changed")
    seen += [left, right, left + right]
    return seen[-1]


class Mutated(TypedDict, total=False):
    lists: Annotated[list[list[str]], append]
    tally: Annotated[Tally, tally]
    hoard: Annotated[list[str], hoard]


def test_a_reducer_that_mutates_harms_no_earlier_checkpoint() -> None:
    """Neither the container it is given, nor what is inside, nor an object, nor what it returned earlier."""

    def node(state: Mutated) -> dict[str, Any]:
        return {"lists": ["n"], "tally": "n", "hoard": ["n"]}

    runner = MemoryRunner(graph(Mutated, "START > a, a > b, b > c, c > END", a=node, b=node, c=node))
    assert runner.invoke({}, THREAD)["tally"] == Tally({"n": [1, 1, 1]})
    history = [snapshot.values for snapshot in runner.get_state_history(THREAD)]
    assert [values["lists"] for values in history[:-1]] == [
        [["n", "changed", "changed"], ["n"], ["n"]],
        [["n", "changed"], ["n"]],
        [["n"]],
        [],
    ]
    assert [values["tally"] for values in history[:-1]] == [
        Tally({"n": [1, 1, 1]}),
        Tally({"n": [1, 1]}),
        Tally({"n": [1]}),
        Tally(),
    ]
    assert [values["hoard"] for values in history[:-1]] == [["n", "n", "n"], ["n", "n"], ["n"], []]
