"""Errors that cross a process: they come back as their own class, with their parts, and as the node's own type."""

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

TREE = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, StepgraphError)]


def sent(error: StepgraphError) -> StepgraphError:
    """The error as another process has it."""
    return from_wire(json.loads(json.dumps(error.to_wire())))


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_every_error_comes_back_as_its_own_class(cls: type[StepgraphError]) -> None:
    """With its message, and its parts as attributes."""
    again = sent(cls("what, why, how", channel="x", nodes=["a", "b"], size=5, detail=None))
    assert type(again) is cls
    assert str(again) == again.message == "what, why, how"
    assert (again.channel, again.nodes, again.size, again.detail) == ("x", ["a", "b"], 5, None)
    assert repr(again) == f"{cls.__name__}('what, why, how')"
    assert again.to_wire() == {
        "type": cls.__name__,
        "message": "what, why, how",
        "parts": {"channel": "x", "nodes": ["a", "b"], "size": 5, "detail": None},
    }


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """Each class of the docstring's drawing exists, below the one it hangs from, and no other does."""
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        name = next(
            (word for word in line.replace("(", " ").split() if word.endswith("Error") or word == "StepgraphError"), ""
        )
        if not hasattr(errors, name) or not (line.lstrip(" │├└─").startswith(name)):
            continue
        depth = line.index(name)
        above = [(d, n) for d, n in above if d < depth]
        drawn[name] = above[-1][1] if above else None
        above.append((depth, name))
    assert drawn == {cls.__name__: cls.__base__.__name__ if cls is not StepgraphError else None for cls in TREE}


def test_a_part_that_is_missing_is_no_attribute() -> None:
    """So `hasattr` and `getattr` with a default work."""
    error = NodeError("x", node="a")
    assert not hasattr(error, "channel")
    with pytest.raises(AttributeError, match="'NodeError' has no attribute 'channel'"):
        _ = error.channel


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (object, "<class 'object'>"),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (float("nan"), "NaN"),
        (ValueError("x"), "ValueError('x')"),
    ],
)
def test_a_part_that_is_no_json_goes_as_text(part: Any, shown: Any) -> None:
    """An error must not fail on its way for what it carries."""
    assert sent(StepgraphError("x", part=part)).part == shown


def test_characters_that_json_cannot_carry_are_escaped() -> None:
    """In a message or a part, as names of files may have them."""
    again = sent(StepgraphError("\udcff", part=["\udcff"], odd=object()))
    assert (str(again), again.part) == (r"\udcff", r"['\udcff']")


@pytest.mark.parametrize("data", [{}, {"type": "Unheard", "message": "x"}, {"type": "NodeError", "parts": None}])
def test_an_error_of_a_later_version_is_at_least_ours(data: dict[str, Any]) -> None:
    """A class that this version does not know is the root."""
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


class OwnError(StepgraphError):
    """An author's own, below ours."""


class OwnNodeError(NodeError):
    """Likewise."""


def unicode_error() -> UnicodeDecodeError:
    return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


SHARED: dict[str, Exception] = {
    "an operating system's error": ConnectionError("no route"),
    "a time-out": TimeoutError(),
    "a file's": FileNotFoundError(2, "no such file", "x"),
    "a look-up's, which quotes": KeyError("key"),
    "one with a layout of its own": unicode_error(),
    "a syntax error": SyntaxError("odd"),
    "an import's": ImportError("x", name="n", path="p"),
    "one with a demanding constructor": DemandingError(5, reason="x"),
    "one with attributes of our names": PropertiedError("x"),
    "a frozen one": FrozenError(5),
    "a sealed one": SealedError(5),
    "one inside a class": OuterError.InnerError("x"),
    "JSON's": json.JSONDecodeError("msg", "doc", 0),
    "an author's own, below ours": OwnError("x", code=1),
    "an author's own node error": OwnNodeError("x"),
    "ours": InvalidUpdateError("x", channel="c"),
    "ours again": GraphRecursionError("x"),
}


@pytest.mark.parametrize("raised", SHARED.values(), ids=SHARED.keys())
def test_a_node_error_is_also_of_the_nodes_own_type(raised: Exception) -> None:
    """`except` finds it by either; text and parts are ours, whatever the node's type makes of them."""

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
    assert isinstance(sent(error), NodeError)
    assert isinstance(sent(error), type(raised))


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


ALONE: dict[str, BaseException] = {
    "a final class": validation_error(),
    "a class inside a function": local_error(),
    "one that cannot be made": StubbornError(5),
    "one that cannot be derived from": ForbiddingError("x"),
    "a group": ExceptionGroup("x", [ValueError()]),
    "no Exception": SystemExit(3),
}


@pytest.mark.parametrize("raised", ALONE.values(), ids=ALONE.keys())
def test_a_type_that_cannot_be_shared_leaves_a_node_error(raised: BaseException) -> None:
    """Which still names the type."""

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
def test_a_type_that_is_not_there_leaves_a_node_error(error_type: str) -> None:
    """Nothing is imported for it: an import could run anything."""
    script = (
        "import sys, json, stepgraph; from stepgraph.errors import from_wire, NodeError; before = set(sys.modules)\n"
        f"error = from_wire({{'type': 'NodeError', 'message': 'm', 'parts': {{'error_type': {error_type!r}}}}})\n"
        "assert type(error) is NodeError, type(error)\n"
        "assert set(sys.modules) == before, set(sys.modules) - before"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_type_of_a_module_that_is_loaded_is_found() -> None:
    """The same as above, but for the import."""
    data = {"type": "NodeError", "message": "m", "parts": {"error_type": "xml.sax._exceptions:SAXException"}}
    assert isinstance(from_wire(data), xml.sax.SAXException)


def test_a_combined_error_leaves_the_tree_as_it_was() -> None:
    """After a node has raised an error of ours, that error by itself still comes back as itself."""
    combined = from_wire(
        {"type": "NodeError", "message": "m", "parts": {"error_type": "stepgraph.errors:SerializationError"}}
    )
    assert isinstance(combined, SerializationError)
    assert isinstance(combined, NodeError)
    assert type(sent(SerializationError("x"))) is SerializationError
    assert type(sent(MissingNodeError("x"))) is MissingNodeError


def test_a_node_that_its_code_lacks_is_told_apart() -> None:
    """A worker without the node is no failure of the node."""
    whole = graph(State, "START > n, n > m, m > END", n=lambda state: None, m=lambda state: None)
    lacking = graph(State, "START > n, n > END", n=lambda state: None)
    runner = MemoryRunner(whole)
    runner.graph.registry.nodes.pop("m")  # type: ignore[attr-defined]
    with pytest.raises(MissingNodeError, match="This worker's code of graph 'g' has no node 'm'") as caught:
        runner.invoke({}, THREAD)
    assert (caught.value.node, caught.value.run_spec) == ("m", whole.registry.spec.hash)
    runner.graph = lacking
    with pytest.raises(MissingNodeError, match=r"Thread 't1' goes on at node 'm', but graph 'g' .* has no such node"):
        runner.invoke(None, THREAD)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("serch", ["search", "report"], " Did you mean 'search'?"),
        ("zzz", ["search", "report"], " Known: 'report', 'search'."),
        ("zzz", [], ""),
    ],
)
def test_a_near_miss_is_named(name: str, known: list[str], hint: str) -> None:
    """Otherwise all that would have been right."""
    assert suggest(name, known) == hint
