"""Tests of the keywords that the methods of `CompiledGraph`, `GraphClient` and `MemoryRunner` have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client
from typing_extensions import TypedDict

from stepgraph import GraphClient
from stepgraph.protocol.method_keywords import HistoryKeywords, InvokeKeywords
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph

NO_SERVER = "localhost:1"

INVOKING = [
    ("graph", "invoke"),
    ("graph", "ainvoke"),
    ("client", "ainvoke"),
    ("client", "astart"),
    ("runner", "invoke"),
    ("runner", "ainvoke"),
]
READING = [
    ("graph", "get_state_history"),
    ("graph", "aget_state_history"),
    ("client", "aget_state_history"),
    ("runner", "get_state_history"),
    ("runner", "aget_state_history"),
]


class State(TypedDict, total=False):
    x: int


Method = Callable[..., Any]


@pytest.fixture
async def methods(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Method]:
    """Return a function that returns a method of a compiled graph, a client or a runner. No server can be reached."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", NO_SERVER)
    compiled = graph(State, "START > a, a > END", a=lambda state: {"x": 2})
    owners = {
        "graph": compiled,
        "client": GraphClient(await Client.connect(NO_SERVER, lazy=True), compiled.name),
        "runner": MemoryRunner(compiled),
    }
    return lambda owner, name: getattr(owners[owner], name)


async def finish(call: Any) -> Any:
    """Return the result of a method's call, whether it is a value, an awaitable or an iterator of either kind."""
    if inspect.isawaitable(call):
        return await call
    if hasattr(call, "__anext__"):
        return [item async for item in call]
    return list(call) if hasattr(call, "__next__") else call


@pytest.mark.parametrize(("owner", "name"), INVOKING, ids=".".join)
async def test_a_misspelled_keyword_of_an_invocation_is_a_type_error(
    methods: Callable[[str, str], Method], owner: str, name: str
) -> None:
    """The error names the keyword. It is raised before a server is looked for."""
    method = methods(owner, name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'interupt_before'"):
        await finish(method({"x": 1}, THREAD, interupt_before="a"))


@pytest.mark.parametrize(("owner", "name"), READING, ids=".".join)
async def test_a_misspelled_keyword_of_a_history_is_a_type_error(
    methods: Callable[[str, str], Method], owner: str, name: str
) -> None:
    """The error names the keyword. It is raised before a server is looked for."""
    method = methods(owner, name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'limits'"):
        await finish(method(THREAD, limits=1))


@pytest.mark.parametrize("name", ["invoke", "ainvoke"])
async def test_a_runner_in_memory_has_no_input_queue(methods: Callable[[str, str], Method], name: str) -> None:
    """`MemoryRunner` refuses the keyword ``on_busy``."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'on_busy'"):
        await finish(methods("runner", name)({"x": 1}, THREAD, on_busy="enqueue"))


@pytest.mark.parametrize("name", ["invoke", "ainvoke"])
async def test_breakpoints_pass_through_both_kinds_of_invocation(
    methods: Callable[[str, str], Method], name: str
) -> None:
    """The blocking and the async method hand the keywords to the same code."""
    assert await finish(methods("runner", name)({"x": 1}, THREAD, interrupt_before="a")) == {"x": 1}
    assert await finish(methods("runner", name)(None, THREAD)) == {"x": 2}


@pytest.mark.parametrize("name", ["get_state_history", "aget_state_history"])
async def test_the_keywords_of_a_history_pass_through_both_kinds_of_iterator(
    methods: Callable[[str, str], Method], name: str
) -> None:
    """The blocking and the async method hand the keywords to the same code."""
    await finish(methods("runner", "invoke")({"x": 1}, THREAD))
    history = methods("runner", name)
    newest, *older = await finish(history(THREAD))
    assert await finish(history(THREAD, limit=1)) == [newest]
    assert await finish(history(THREAD, before=newest.config)) == older
    assert [snapshot.values for snapshot in await finish(history(THREAD, filter={"source": "input"}))] == [{}]


@pytest.mark.parametrize(
    ("name", "keywords"), [("invoke", InvokeKeywords), ("get_state_history", HistoryKeywords)], ids=str
)
async def test_the_shared_keywords_are_those_of_the_blocking_methods(
    methods: Callable[[str, str], Method], name: str, keywords: type
) -> None:
    """The documented `TypedDict` and the signature that `help` shows name the same keywords."""
    parameters = inspect.signature(methods("graph", name)).parameters.values()
    assert {each.name for each in parameters if each.kind is each.KEYWORD_ONLY} == set(keywords.__annotations__)
