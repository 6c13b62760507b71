"""A long agent's history grows with what is said, not with the square of it."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

import stepgraph
from tests.conftest import Stage
from tests.langgraph.scripted_model import ScriptedModel, calling

TURNS = 60


@tool
def look_up(what: str) -> str:
    """Look something up; the answer has a kilobyte."""
    return "r" * 1_000


async def test_a_super_step_of_an_agent_takes_five_kilobytes_of_history_at_most(stage: Stage) -> None:
    """Each turn says a kilobyte and hears one; the conversation grows to 120 of them. All events are counted."""
    script: list[Any] = [*(calling(("look_up", {"what": "x" * 900})) for _ in range(TURNS)), AIMessage("end")]
    graph = stepgraph.adopt(create_agent(ScriptedModel(script=script), [look_up]), "long-agent")
    config = stage.thread()
    async with stage.serving(graph):
        result = await stage.use(graph).ainvoke({"messages": "go"}, config)
    assert len(result["messages"]) == 2 * TURNS + 2
    (run,) = await stage.runs(stage.threads[0])
    history = await stage.history(run)
    assert sum(event.ByteSize() for event in history.events) / (2 * TURNS + 1) < 5_000
