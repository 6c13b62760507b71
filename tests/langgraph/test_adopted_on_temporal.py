"""Programs on a real server: each node is an activity, and what a program does is what it does in LangGraph."""

from __future__ import annotations

import pytest

import stepgraph
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


@pytest.mark.parametrize("name", ["agent_by_hand", "agent_whose_tools_ask"])
async def test_the_super_steps_of_an_agent_may_be_fused(name: str, stage: Stage) -> None:
    """With ``durability="async"``, one activity runs many super-steps, and the checkpoints are the same."""
    program = agents.programs.by_name[name]
    theirs = await program.in_langgraph()
    graph = stepgraph.adopt(program.build(), f"fused_{name}", durability="async")
    async with stage.serving(graph):
        ours = await program.here(stage.use(graph), stage.thread())
    assert ours.results == theirs.results
    assert ours.history == theirs.history


async def test_an_update_by_hand_asks_the_routers_on_a_worker(stage: Stage) -> None:
    """`update_state(as_node=)` on a closed thread: where the values lead is LangGraph's own answer."""
    graph = control_flow.programs.by_name["loops"].adopted()
    async with stage.serving(graph):
        client, config = stage.use(graph), stage.thread()
        await client.ainvoke({"log": []}, config)
        history = [snapshot async for snapshot in client.aget_state_history(config)]
        early = next(snapshot for snapshot in history if len(snapshot.values.get("log", ())) == 2)
        forked = await client.aupdate_state(early.config, {"log": [7]}, as_node="count")
        assert (await client.aget_state(forked)).next == ("count",)
        assert (await client.ainvoke(None, config))["log"] == [0, 1, 7, 3]
