"""The private names of LangGraph mean what `stepgraph.langgraph` takes them for; otherwise an upgrade fails here."""

from __future__ import annotations

import ast
import operator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send

import stepgraph.langgraph
from stepgraph.langgraph import private_names as names


class Log(TypedDict):
    """A state with a list that grows."""

    log: Annotated[list[Any], operator.add]


def seen_by_a_node() -> dict[str, Any]:
    """Return what LangGraph itself puts into the config of a node."""
    seen: dict[str, Any] = {}

    def node(state: Log) -> Any:
        seen.update(get_config()["configurable"])

    builder = StateGraph(Log).add_node("only", node).add_edge(START, "only")
    builder.compile(checkpointer=InMemorySaver()).invoke({"log": []}, {"configurable": {"thread_id": "t"}})
    return seen


def test_a_node_finds_these_keys_in_its_config() -> None:
    """LangGraph's own loop gives them."""
    seen = seen_by_a_node()
    for key in (names.SEND, names.READ, names.CALL, names.SCRATCHPAD, names.RUNTIME, names.TASK_ID, names.CHECKPOINTER):
        assert key in seen
    assert isinstance(seen[names.SCRATCHPAD], names.PregelScratchpad)
    assert isinstance(seen[names.READ], partial)
    assert "only" in seen[names.READ].args[1] or "log" in seen[names.READ].args[1]  # the channels, for tools
    assert seen["checkpoint_ns"] == f"only{names.NS_END}{seen[names.TASK_ID]}"


def test_writers_send_these_channels() -> None:
    """A destination is a channel of its own, and so are all tasks that are sent."""
    builder = StateGraph(Log).add_node("a", lambda state: Command(goto=["b", Send("b", 1)], update={"log": ["x"]}))
    graph = builder.add_node("b", lambda state: None).add_edge(START, "a").compile()
    written: list[tuple[str, Any]] = []
    graph.nodes["a"].node.invoke({"log": []}, {"configurable": {names.SEND: written.extend}})  # type: ignore[union-attr]
    assert written == [("log", ["x"]), (f"{names.BRANCH}b", None), (names.SENDS, Send("b", 1))]


def test_no_other_module_imports_private_names() -> None:
    """All of them are in ``private_names.py``."""
    folder = Path(stepgraph.langgraph.__file__).parent
    private = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and "._" in (node.module or "")
    }
    assert private == {"private_names.py"}
