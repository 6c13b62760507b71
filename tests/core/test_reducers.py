"""Tests of channels and reducers: how writes are folded into values, and what happens when they do not fit."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from stepgraph.errors import InvalidUpdateError, ReducerError
from stepgraph.execution.channels import NOTHING, make_channel
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


def keep_left(left: Any, right: Any) -> Any:
    return left


ZERO_VALUES: dict[str, tuple[Any, Any]] = {
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
    "a TypedDict without required keys": (Partial, {}),
    "a dataclass with required fields": (Named, NOTHING),
    "a TypedDict with required keys": (Complete, NOTHING),
    "an int above zero": (Annotated[int, Field(gt=0)], NOTHING),
    "a tuple of two": (tuple[int, int], NOTHING),
    "a union": (list[str] | None, NOTHING),
    "Any": (Any, NOTHING),
    "a value that differs each time it is made": (Stamped, NOTHING),
}


@pytest.mark.parametrize(("declared", "zero"), ZERO_VALUES.values(), ids=ZERO_VALUES.keys())
def test_a_reducer_starts_from_the_zero_of_its_type(declared: Any, zero: Any) -> None:
    """The first write is reduced with the zero of the channel's type; without a valid zero it becomes the value."""
    channel = make_channel("x", Annotated[declared, keep_left])
    assert channel.zero() == zero
    assert type(channel.zero()) is type(zero)
    assert make_channel("x", declared).zero() is NOTHING


def test_a_zero_is_a_new_value_each_time() -> None:
    """Changing one zero of a channel does not change the next."""
    channel = make_channel("x", Annotated[Tally, keep_left])
    channel.zero().counts["a"] = [1]
    assert channel.zero() == Tally()


class Folding(TypedDict, total=False):
    total: Annotated[int, operator.add]
    most: Annotated[int, max]
    words: Annotated[list[str], operator.add]
    flags: Annotated[dict[str, int], operator.or_]
    marks: Annotated[dict[str, int], dict.__or__]  # has no module
    doc: Annotated[Complete, lambda left, right: {**left, **right}]
    part: Annotated[str, functools.partial(lambda sep, left, right: f"{left}{sep}{right}", "-")]
    last: str


def test_a_reducer_folds_each_write_into_the_value() -> None:
    """A reducer gets the input first, then each node's writes in order.

    Without one, the last write replaces the value.
    """
    input_data = {"total": 1, "most": 3, "words": ["in"], "flags": {"in": 1}, "doc": {"key": "in"}, "last": "in"}

    def node(state: Folding) -> dict[str, Any]:
        numbers = {"total": 2, "most": 2, "flags": {"n": 1}, "marks": {"n": 1}}
        return {**numbers, "words": ["n"], "doc": {"key": "n"}, "part": "n", "last": "n"}

    assert MemoryRunner(graph(Folding, "START > n, n > END", n=node)).invoke(input_data, THREAD) == {
        "total": 3,
        "most": 3,
        "words": ["in", "n"],
        "flags": {"in": 1, "n": 1},
        "marks": {"n": 1},
        "doc": {"key": "n"},
        "part": "-n",
        "last": "n",
    }


def add_words(left: list[str], right: str | list[str]) -> list[str]:
    return [*left, *([right] if isinstance(right, str) else right)]


class AppendAsText:
    def __call__(self, left: list[str], right: Any) -> list[str]:
        return [*left, str(right)]


def add_name(left: list[str], right: Named) -> list[str]:
    return [*left, right.name]


WRITES: dict[str, tuple[Callable[[Any, Any], Any], Any, list[str]]] = {
    "the annotated type of its update": (add_words, "one", ["one"]),
    "the channel's own type": (add_words, ["one", "two"], ["one", "two"]),
    "a dataclass": (add_name, Named("x"), ["x"]),
    "plain JSON for a reducer without annotations": (
        lambda left, right: [*left, str(right)],
        {"a": [1]},
        ["{'a': [1]}"],
    ),
    "plain JSON for a callable object": (AppendAsText(), 5, ["5"]),
    "plain JSON for a partial": (functools.partial(lambda n, left, right: [*left, right * n], 2), "x", ["xx"]),
}


@pytest.mark.parametrize(("reducer", "write", "value"), WRITES.values(), ids=WRITES.keys())
def test_a_node_may_write_what_the_reducer_accepts(reducer: Callable[..., Any], write: Any, value: list[str]) -> None:
    """The annotation of a reducer's second parameter is the type that nodes write; without one, any plain JSON is."""
    state = state_of({"x": Annotated[list[str], reducer]})
    compiled = graph(state, "START > n, n > END", n=lambda view: {"x": write})
    assert MemoryRunner(compiled).invoke({}, THREAD) == {"x": value}


class Counted(TypedDict, total=False):
    count: Annotated[int, lambda left, right: left + right]


@pytest.mark.parametrize("write", [True, 1.0, "1"])
def test_a_write_of_another_type_is_never_converted(write: Any) -> None:
    """`True` is not an int here although Python finds it equal to 1, and a string does not become a number."""
    runner = MemoryRunner(graph(Counted, "START > n, n > END", n=lambda state: {"count": write}))
    with pytest.raises(InvalidUpdateError, match="Channel 'count' is declared int and cannot take this"):
        runner.invoke({}, THREAD)


class Clashing(TypedDict, total=False):
    text: str
    log: Annotated[list[str], operator.add]


def clashing(fixed: list[bool]) -> CompiledGraph:
    return graph(
        Clashing,
        "START > a, START > b, a > END, b > END",
        a=lambda state: {"text": "a", "log": ["a"]},
        b=lambda state: {"log": ["b"]} if fixed else {"text": "b", "log": ["b"]},
    )


def test_two_writers_of_a_channel_without_a_reducer_are_an_error() -> None:
    """The error about two writers names channel, nodes, step and the fix.

    Both results stay pending, none is applied.
    """
    runner = MemoryRunner(clashing([]))
    expected = (
        r"Channel 'text' got 2 values in step 2 \(from 'a', 'b'\)\. Give it a reducer: "
        r"Annotated\[str, operator\.add\], say\."
    )
    with pytest.raises(InvalidUpdateError, match=expected) as caught:
        runner.invoke({"text": "in"}, THREAD)
    assert (caught.value.channel, caught.value.nodes, caught.value.step) == ("text", ["a", "b"], 2)
    head = runner.get_state(THREAD)
    assert head.values == {"text": "in", "log": []}
    assert head.next == ("a", "b")
    assert [task.result for task in head.tasks] == [{"text": "a", "log": ["a"]}, {"text": "b", "log": ["b"]}]


def test_a_thread_with_clashing_writes_is_repaired_by_a_new_input() -> None:
    """A new input discards clashing results, and the corrected nodes run again."""
    fixed: list[bool] = []
    runner = MemoryRunner(clashing(fixed))
    with pytest.raises(InvalidUpdateError):
        runner.invoke({"text": "in"}, THREAD)
    with pytest.raises(InvalidUpdateError):
        runner.invoke(None, THREAD)
    fixed.append(True)
    assert runner.invoke({"text": "again"}, THREAD) == {"text": "a", "log": ["a", "b"]}


def test_a_node_that_writes_a_channel_twice_counts_as_two_writers() -> None:
    """A list of mappings makes two writes, and only a channel with a reducer accepts both."""
    runner = MemoryRunner(graph(Clashing, "START > a, a > END", a=lambda state: [{"text": "1"}, {"text": "2"}]))
    with pytest.raises(InvalidUpdateError, match=r"Channel 'text' got 2 values in step 2 \(from 'a', 'a'\)"):
        runner.invoke({}, THREAD)


class Fragile(TypedDict, total=False):
    x: Annotated[list[str], lambda left, right: left + right if right != ["bad"] else 1 // 0]


def test_a_reducer_that_raises_is_an_error_that_names_its_channel() -> None:
    """The error of a failed reducer names channel, writer, step and exception.

    A resume applies the same writes again.
    """
    runner = MemoryRunner(
        graph(
            Fragile,
            "START > a, START > b, a > END, b > END",
            a=lambda state: {"x": ["a"]},
            b=lambda state: {"x": ["bad"]},
        )
    )
    expected = (
        r"The reducer of channel 'x' failed in step 2 on what 'b' wrote: ZeroDivisionError: integer division .*resume"
    )
    for input_data in ({"x": ["in"]}, None):
        with pytest.raises(ReducerError, match=expected) as caught:
            runner.invoke(input_data, THREAD)
        assert (caught.value.channel, caught.value.node, caught.value.step) == ("x", "b", 2)
        head = runner.get_state(THREAD)
        assert (head.values, head.next) == ({"x": ["in"]}, ("a", "b"))


def test_a_reducer_that_raises_on_the_input_leaves_the_input_checkpoint() -> None:
    """After a reducer failed on an input, a corrected graph or another input continues from the input checkpoint."""
    runner = MemoryRunner(graph(Fragile, "START > a, a > END", a=lambda state: {"x": ["a"]}))
    with pytest.raises(ReducerError, match="on what '__start__' wrote"):
        runner.invoke({"x": ["bad"]}, THREAD)
    assert runner.get_state(THREAD).next == ("__start__",)
    assert runner.invoke({"x": ["good"]}, THREAD) == {"x": ["good", "a"]}


def test_a_fixed_reducer_applies_the_pending_writes() -> None:
    """A resume with a corrected reducer commits the kept results, and no node runs again."""
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


INVALID_RESULTS: dict[str, tuple[Any, Callable[[Any, Any], Any], str]] = {
    "another type": (list[str], lambda left, right: {"not": "a list"}, "made a dict .* expected list"),
    "None": (list[str], lambda left, right: None, "made a NoneType"),
    "a tuple for a list": (list[str], lambda left, right: (left, right), "made a tuple .* expected list"),
    "a function in a list of anything": (
        list[Any],
        lambda left, right: [print],
        "made a list .* is not among",
    ),
    "a string that JSON cannot carry": (str, lambda left, right: "\ud800", "made a str .* surrogates not allowed"),
    "a list that contains itself": (
        list[Any],
        lambda left, right: left.append(left) or left,
        "made a list .* list contains itself",
    ),
}


@pytest.mark.parametrize(("declared", "reducer", "expected"), INVALID_RESULTS.values(), ids=INVALID_RESULTS.keys())
def test_a_reducer_result_that_its_channel_cannot_hold_is_an_error(
    declared: Any, reducer: Callable[..., Any], expected: str
) -> None:
    """A reducer result that would change in JSON fails the commit, so that no later run reads another value."""
    state = state_of({"x": Annotated[declared, reducer]})
    write = "w" if declared in (Any, str) else ["w"]
    runner = MemoryRunner(
        graph(state, "START > n, n > m, m > END", n=lambda view: {"x": write}, m=lambda view: {"x": write})
    )
    with pytest.raises(ReducerError, match=f"The reducer of channel 'x' {expected}") as caught:
        runner.invoke({}, THREAD)
    assert caught.value.channel == "x"
    assert caught.value.node in ("n", "m")


def append_in_place(left: list[list[str]], right: list[str]) -> list[list[str]]:
    """Changes its first argument and a list inside it."""
    if left:
        left[0].append("changed")
    left.append(right)
    return left


def tally_in_place(left: Tally, right: str) -> Tally:
    left.counts.setdefault(right, []).append(1)
    return left


def change_kept(left: list[str], right: list[str], *, seen: list[list[str]] = []) -> list[str]:  # noqa: B006 (deliberate)
    """Keeps its arguments and results, and changes them in later calls."""
    for old in seen:
        old.append("changed")
    seen += [left, right, left + right]
    return seen[-1]


class Mutated(TypedDict, total=False):
    lists: Annotated[list[list[str]], append_in_place]
    tally: Annotated[Tally, tally_in_place]
    kept: Annotated[list[str], change_kept]


def test_a_reducer_that_mutates_its_arguments_changes_no_earlier_checkpoint() -> None:
    """A reducer may change its arguments, values nested in them, and values that it returned earlier."""

    def node(state: Mutated) -> dict[str, Any]:
        return {"lists": ["n"], "tally": "n", "kept": ["n"]}

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
    assert [values["kept"] for values in history[:-1]] == [["n", "n", "n"], ["n", "n"], ["n"], []]
