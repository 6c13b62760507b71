"""Programs on a real server: each node is an activity, and what a program does is what it does in LangGraph."""

from __future__ import annotations

import pytest

from tests.conftest import Stage
from tests.langgraph import agents, control_flow, nesting, states, surroundings
from tests.langgraph.programs import Program

SERVED = {
    control_flow: ("map_reduce", "commands", "a_deferred_node", "interrupts", "entry_routers"),
    states: ("channels", "a_custom_reducer", "messages", "a_pydantic_state"),
    surroundings: ("a_store", "config_and_runtime", "retries"),
    nesting: ("a_graph_as_a_node", "a_hidden_graph", "an_agent_in_a_tool"),
    agents: ("agent_by_hand", "agent_with_middleware", "agent_whose_tools_ask"),
}
PROGRAMS = [param for module, names in SERVED.items() for param in module.programs.params() if param.id in names]


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_does_on_temporal_what_it_does_in_langgraph(program: Program, stage: Stage) -> None:
    """The same results, interrupts and checkpoints; every history is replayed."""
    theirs = await program.in_langgraph()
    graph = program.adopted()
    async with stage.serving(graph):
        ours = await program.here(stage.use(graph), stage.thread())
    assert ours.results == theirs.results
    assert ours.interrupts == theirs.interrupts
    assert ours.history == theirs.history


async def test_each_node_of_an_agent_is_an_activity(stage: Stage) -> None:
    """The history of the run names them: the model, then each call of a tool."""
    program = agents.programs.by_name["agent_whose_tools_ask"]
    graph = program.adopted()
    async with stage.serving(graph):
        config = stage.thread()
        await stage.use(graph).ainvoke(program.input, config)
    events = (await stage.history((await stage.runs(stage.threads[0]))[0])).events
    started = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [name for name in started if name.startswith(graph.name)] == [
        f"{graph.name}.{node}" for node in ("model", "tools", "tools", "tools")
    ]
