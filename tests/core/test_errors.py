"""Tests of errors that cross a process boundary: they keep their class, their parts and the node's exception type."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.sax
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from typing_extensions import TypedDict

from stepgraph import errors
from stepgraph.errors import (
    GraphRecursionError,
    InvalidUpdateError,
    MissingNodeError,
    NodeError,
    SerializationError,
    StepgraphError,
    from_wire,
    suggest,
)
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph

ERROR_CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, StepgraphError)]


def after_transport(error: StepgraphError) -> StepgraphError:
    """Return the error as another process receives it."""
    return from_wire(json.loads(json.dumps(error.to_wire())))


@pytest.mark.parametrize("cls", ERROR_CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_keeps_its_class_message_and_parts(cls: type[StepgraphError]) -> None:
    """An error has the same class, message and attributes after it was sent to another process."""
    again = after_transport(cls("what, why, how", channel="x", nodes=["a", "b"], size=5, detail=None))
    assert type(again) is cls
    assert str(again) == again.message == "what, why, how"
    assert (again.channel, again.nodes, again.size, again.detail) == ("x", ["a", "b"], 5, None)
    assert repr(again) == f"{cls.__name__}('what, why, how')"
    assert again.to_wire() == {
        "type": cls.__name__,
        "message": "what, why, how",
        "parts": {"channel": "x", "nodes": ["a", "b"], "size": 5, "detail": None},
    }


def test_the_class_tree_matches_the_drawing_in_the_docstring() -> None:
    """The docstring of `stepgraph.errors` shows every error class below its base class, and no other class."""
    bases: dict[str, str | None] = {}
    ancestors: list[tuple[int, str]] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        name = next(
            (word for word in line.replace("(", " ").split() if word.endswith("Error") or word == "StepgraphError"), ""
        )
        if not hasattr(errors, name) or not (line.lstrip(" │├└─").startswith(name)):
            continue
        depth = line.index(name)
        ancestors = [(d, n) for d, n in ancestors if d < depth]
        bases[name] = ancestors[-1][1] if ancestors else None
        ancestors.append((depth, name))
    assert bases == {
        cls.__name__: cls.__base__.__name__ if cls is not StepgraphError else None for cls in ERROR_CLASSES
    }


def test_a_missing_part_raises_an_attribute_error() -> None:
    """`hasattr`, and `getattr` with a default, work for parts that an error does not have."""
    error = NodeError("x", node="a")
    assert not hasattr(error, "channel")
    with pytest.raises(AttributeError, match="'NodeError' has no attribute 'channel'"):
        _ = error.channel


@pytest.mark.parametrize(
    ("part", "encoded"),
    [
        (object, "<class 'object'>"),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (float("nan"), "NaN"),
        (ValueError("x"), "ValueError('x')"),
    ],
)
def test_a_part_that_is_not_json_is_sent_as_text(part: Any, encoded: Any) -> None:
    """A part of an error that is not JSON is converted, so that it never prevents the error from being sent."""
    assert after_transport(StepgraphError("x", part=part)).part == encoded


def test_characters_that_json_cannot_carry_are_escaped() -> None:
    """Lone surrogates, which file names may put into messages and parts, are escaped."""
    again = after_transport(StepgraphError("\udcff", part=["\udcff"], odd=object()))
    assert (str(again), again.part) == (r"\udcff", r"['\udcff']")


@pytest.mark.parametrize("data", [{}, {"type": "UnknownError", "message": "x"}, {"type": "NodeError", "parts": None}])
def test_an_unknown_error_class_becomes_a_stepgraph_error(data: dict[str, Any]) -> None:
    """Error data of a later version, or without a class, is read as a `StepgraphError`."""
    assert isinstance(from_wire(data), StepgraphError)


class DemandingError(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(code, reason)
        self.registry = code


class PropertiedError(Exception):
    node = "mine"

    @property
    def message(self) -> str:
        return "mine"

    @property
    def step(self) -> int:
        return self.missing  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int
    graph: str = "mine"


class SealedError(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")


class OuterError:
    class InnerError(KeyError):
        pass


class StubbornError(Exception):
    def __new__(cls, code: int) -> StubbornError:
        return super().__new__(cls)


class ForbiddingError(Exception):
    def __init_subclass__(cls) -> None:
        raise RuntimeError("no more")


class ApplicationError(StepgraphError):
    """A subclass of `StepgraphError` defined by an application."""


class ApplicationNodeError(NodeError):
    """A subclass of `NodeError` defined by an application."""


def unicode_error() -> UnicodeDecodeError:
    return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


COMBINABLE: dict[str, Exception] = {
    "an operating system error": ConnectionError("no route"),
    "a time-out": TimeoutError(),
    "a file error": FileNotFoundError(2, "no such file", "x"),
    "a KeyError, which quotes its text": KeyError("key"),
    "one with a memory layout of its own": unicode_error(),
    "a syntax error": SyntaxError("odd"),
    "an import error": ImportError("x", name="n", path="p"),
    "one with a constructor that needs arguments": DemandingError(5, reason="x"),
    "one with attributes named like ours": PropertiedError("x"),
    "a frozen one": FrozenError(5),
    "a sealed one": SealedError(5),
    "one inside a class": OuterError.InnerError("x"),
    "a JSON decoding error": json.JSONDecodeError("msg", "doc", 0),
    "an application's StepgraphError": ApplicationError("x", code=1),
    "an application's NodeError": ApplicationNodeError("x"),
    "an InvalidUpdateError": InvalidUpdateError("x", channel="c"),
    "a GraphRecursionError": GraphRecursionError("x"),
}


@pytest.mark.parametrize("raised", COMBINABLE.values(), ids=COMBINABLE.keys())
def test_a_node_error_is_also_of_the_nodes_own_type(raised: Exception) -> None:
    """`except` catches a failed node's error as `NodeError` and as the node's exception type."""

    def node(state: Any) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        MemoryRunner(graph(State, "START > n, n > END", n=node)).invoke({}, THREAD)
    error: Any = caught.value
    assert isinstance(error, NodeError)
    assert type(error).__name__ == type(raised).__name__
    assert str(error) == error.message
    assert str(error).startswith("Node 'n' of graph 'g' failed in step 2 of thread 't1': ")
    assert (error.node, error.graph, error.step, error.attempts) == ("n", "g", 2, 1)
    assert repr(error) == f"{type(raised).__name__}({error.message!r})"
    assert isinstance(after_transport(error), NodeError)
    assert isinstance(after_transport(error), type(raised))


class State(TypedDict, total=False):
    x: int


class Model(BaseModel):
    number: int


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Model(number="x")  # type: ignore[arg-type]
    return caught.value


def local_error() -> Exception:
    class LocalError(Exception):
        pass

    return LocalError("x")


NOT_COMBINABLE: dict[str, BaseException] = {
    "a final class": validation_error(),
    "a class inside a function": local_error(),
    "one that cannot be instantiated": StubbornError(5),
    "one that cannot be subclassed": ForbiddingError("x"),
    "an exception group": ExceptionGroup("x", [ValueError()]),
    "a BaseException": SystemExit(3),
}


@pytest.mark.parametrize("raised", NOT_COMBINABLE.values(), ids=NOT_COMBINABLE.keys())
def test_an_exception_type_that_cannot_be_combined_gives_a_plain_node_error(raised: BaseException) -> None:
    """If no class can derive from both types, a `NodeError` is raised. Its `error_type` names the node's exception."""

    def node(state: Any) -> None:
        raise raised

    with pytest.raises(NodeError, match=type(raised).__name__) as caught:
        MemoryRunner(graph(State, "START > n, n > END", n=node)).invoke({}, THREAD)
    assert type(caught.value) is NodeError
    assert caught.value.error_type == f"{type(raised).__module__}:{type(raised).__qualname__}"


@pytest.mark.parametrize(
    "error_type",
    [
        "http.cookiejar_of_nobody:LoadError",
        "xmlrpc.client:Fault",
        "json",
        "json:",
        ":",
        "",
        "json:loads",
        "json:decoder",
        "builtins:KeyboardInterrupt",
        "builtins:object",
        "stepgraph.errors:NodeError",
        "stepgraph:GraphClient",
    ],
)
def test_an_exception_type_that_is_not_loaded_gives_a_plain_node_error(error_type: str) -> None:
    """Reading an error never imports a module, because an import may run any code."""
    script = (
        "import sys, json, stepgraph; from stepgraph.errors import from_wire, NodeError; before = set(sys.modules)\n"
        f"error = from_wire({{'type': 'NodeError', 'message': 'm', 'parts': {{'error_type': {error_type!r}}}}})\n"
        "assert type(error) is NodeError, type(error)\n"
        "assert set(sys.modules) == before, set(sys.modules) - before"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_exception_type_of_a_loaded_module_is_found() -> None:
    """An error read back is also of the exception type that its `error_type` names."""
    data = {"type": "NodeError", "message": "m", "parts": {"error_type": "xml.sax._exceptions:SAXException"}}
    assert isinstance(from_wire(data), xml.sax.SAXException)


def test_combining_an_error_does_not_change_other_error_classes() -> None:
    """A stepgraph error raised by a node is a `NodeError` too; the same error raised elsewhere is not."""
    combined = from_wire(
        {"type": "NodeError", "message": "m", "parts": {"error_type": "stepgraph.errors:SerializationError"}}
    )
    assert isinstance(combined, SerializationError)
    assert isinstance(combined, NodeError)
    assert type(after_transport(SerializationError("x"))) is SerializationError
    assert type(after_transport(MissingNodeError("x"))) is MissingNodeError


def test_a_missing_node_is_a_missing_node_error() -> None:
    """A worker whose code lacks a node reports a `MissingNodeError`, not a failure of the node."""
    full_graph = graph(State, "START > n, n > m, m > END", n=lambda state: None, m=lambda state: None)
    graph_without_m = graph(State, "START > n, n > END", n=lambda state: None)
    runner = MemoryRunner(full_graph)
    runner.graph.registry.nodes.pop("m")  # type: ignore[attr-defined]
    with pytest.raises(MissingNodeError, match="This worker's code of graph 'g' has no node 'm'") as caught:
        runner.invoke({}, THREAD)
    assert (caught.value.node, caught.value.run_spec) == ("m", full_graph.registry.spec.hash)
    runner.graph = graph_without_m
    with pytest.raises(MissingNodeError, match=r"Thread 't1' goes on at node 'm', which the spec .* does not have"):
        runner.invoke(None, THREAD)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("serch", ["search", "report"], " Did you mean 'search'?"),
        ("zzz", ["search", "report"], " Known: 'report', 'search'."),
        ("zzz", [], ""),
    ],
)
def test_suggest_names_the_near_miss_or_all_known_names(name: str, known: list[str], hint: str) -> None:
    """Without a near miss, `suggest` lists all known names; if there are none, it returns nothing."""
    assert suggest(name, known) == hint


@pytest.mark.parametrize(
    "data",
    [
        {"type": ["NodeError"], "message": "m"},
        {"type": "NodeError", "message": 5, "parts": {"message": "x", "self": 1, "parts": 2, "args": 3}},
        {"type": "ThreadError", "parts": [1]},
        {"type": "NodeError", "parts": {"__str__": "x", "with_traceback": 3, "error_type": "builtins:ValueError"}},
        {"type": "NodeError", "parts": {"error_type": {"a": 1}}},
        "an error",
        None,
    ],
)
def test_an_error_of_any_shape_is_received_as_an_error(data: Any) -> None:
    """What another program sent in place of an error is a `StepgraphError` that can be raised, printed and sent on."""
    received = from_wire(data)
    assert isinstance(received, StepgraphError)
    assert isinstance(str(received), str)
    assert from_wire(received.to_wire()).message == received.message
    with pytest.raises(StepgraphError):
        raise received
