"""Time travel on a research pipeline: replays, forks, updates by hand, virtual authors, and resuming in a loop.

The examples and exercises are those of a tutorial on checkpointing. They differ from it in one place: the tutorial says
that updates of a channel without a reducer overwrite it, but its printed result shows them added up. Here they
overwrite, as `fork_a_channel_without_a_reducer` shows.

Run it: python examples/time_travel.py
"""

import uuid
from operator import add
from typing import Annotated, Any, TypedDict

from stepgraph import END, START, RunnableConfig, StateGraph


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]  # the reducer `add` appends updates
    status: str  # no reducer: an update overwrites the value
    analysis: str
    summary: str


runs = {"search": 0, "analyze": 0, "report": 0}
"""How often each node has run in this process."""

failures_due = {"analyze": 0}
"""How many of a node's next attempts fail."""


def search(state: Research) -> dict[str, Any]:
    runs["search"] += 1
    return {"sources": ["source_1.pdf", "source_2.pdf"], "status": "searched"}


def analyze(state: Research) -> dict[str, Any]:
    runs["analyze"] += 1
    if failures_due["analyze"]:
        failures_due["analyze"] -= 1
        raise ConnectionError("API timeout during processing")
    return {"analysis": f"Found {len(state['sources'])} sources"}


def report(state: Research) -> dict[str, Any]:
    runs["report"] += 1
    return {"summary": f"{state['analysis']} on {state['query']}"}


builder = StateGraph(Research)
builder.add_node(search)
builder.add_node(analyze)
builder.add_node(report)
builder.add_edge(START, "search")
builder.add_edge("search", "analyze")
builder.add_edge("analyze", "report")
builder.add_edge("report", END)
graph = builder.compile(name="time_travel")


def new_thread() -> RunnableConfig:
    return {"configurable": {"thread_id": f"travel-{uuid.uuid4().hex[:8]}"}}


def after_search(config: RunnableConfig) -> RunnableConfig:
    """Returns the config of the checkpoint that has the writes of search."""
    return next(s.config for s in graph.get_state_history(config) if "search" in (s.metadata["writes"] or {}))


def replay() -> str:
    """Replays the checkpoint after search: analyze and report run again, and their results become the thread's head."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config)
    return str(graph.invoke(None, after_search(config))["summary"])


def fork_and_add_sources() -> str:
    """Adds two sources to the two at the checkpoint after search, through the reducer, and runs on from there."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config)
    graph.update_state(after_search(config), {"sources": ["extra_3.pdf", "extra_4.pdf"]}, as_node="search")
    return str(graph.invoke(None, config)["summary"])  # the checkpoint's config would replay the old branch


def fork_a_channel_without_a_reducer() -> str:
    """Updates ``status``, which has no reducer, so the new value overwrites the old one."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config)
    graph.update_state(after_search(config), {"status": "edited"}, as_node="search")
    return str(graph.get_state(config).values["status"])


def edit_as_a_human() -> tuple[list[str], str, tuple[str, ...]]:
    """Updates the state as the virtual author ``"human"``: the values change, and what runs next does not."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config, interrupt_before=["analyze"])
    graph.update_state(config, {"sources": ["manually_added"]}, as_node="human")
    graph.update_state(config, {"status": "manually_approved"}, as_node="human")
    state = graph.get_state(config)
    return state.values["sources"], state.values["status"], state.next


def update_as(node: str) -> tuple[str, ...]:
    """Updates the state before analyze in the name of ``node``, which decides what runs next."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config, interrupt_before=["analyze"])
    graph.update_state(config, {"analysis": "new"}, as_node=node)
    return graph.get_state(config).next


def inject_an_analysis() -> str:
    """Provides the result of analyze by hand, so that analyze does not run."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config, interrupt_before=["analyze"])
    graph.update_state(config, {"analysis": "Analyzed by hand"}, as_node="analyze")
    return str(graph.invoke(None, config)["summary"])


def resume_in_a_loop(retries: int = 3) -> str:
    """Resumes a failed thread up to three times. A `RetryPolicy` of the node would do this without a loop."""
    config = new_thread()
    failures_due["analyze"] = 2
    input_data: dict[str, Any] | None = {"query": "checkpoints"}
    for attempt in range(retries + 1):
        try:
            return str(graph.invoke(input_data, config)["summary"])
        except ConnectionError:
            if attempt == retries:
                raise
            input_data = None  # no new input: the thread goes on where it failed
    raise AssertionError("not reached")


if __name__ == "__main__":
    print("replay:              ", replay())
    print("fork, more sources:  ", fork_and_add_sources())
    print("without a reducer:   ", fork_a_channel_without_a_reducer())
    print("as a human:          ", *edit_as_a_human())
    print("as analyze:          ", update_as("analyze"))
    print("as search:           ", update_as("search"))
    print("injected:            ", inject_an_analysis())
    print("resumed in a loop:   ", resume_in_a_loop())
    print("runs of each node:   ", runs)
