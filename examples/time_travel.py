"""Time travel on a research pipeline: replay, fork, edit, sign, and resume by itself.

These are the checkpointing lesson's own examples and its exercise's bonus challenges. In one place its printed outcome
contradicts its rules: it forks a channel *without* a reducer, by which "updates overwrite", and still prints four
sources. The rules win here, and `fork_a_channel_without_a_reducer` shows it.

Run it as it is: python examples/time_travel.py
"""

import uuid
from operator import add
from typing import Annotated, Any, TypedDict

from stepgraph import END, START, StateGraph


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]  # updates are added to what is there
    status: str  # no reducer: updates overwrite
    analysis: str
    summary: str


runs = {"search": 0, "analyze": 0, "report": 0}
"""How often each node ran in this process."""

outages = {"analyze": 0}
"""How often the next calls of a node are to fail."""


def search(state: Research) -> dict[str, Any]:
    runs["search"] += 1
    return {"sources": ["source_1.pdf", "source_2.pdf"], "status": "searched"}


def analyze(state: Research) -> dict[str, Any]:
    runs["analyze"] += 1
    if outages["analyze"]:
        outages["analyze"] -= 1
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


def new_thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": f"travel-{uuid.uuid4().hex[:8]}"}}


def after_search(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the checkpoint that search made."""
    return next(s.config for s in graph.get_state_history(config) if "search" in ((s.metadata or {})["writes"] or {}))


def replay() -> str:
    """Runs again what came after search; the replay is the thread's head afterwards."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config)
    return str(graph.invoke(None, after_search(config))["summary"])


def fork_and_add_sources() -> str:
    """An update at the search checkpoint, through the reducer: two sources and two more. Then on from the new head."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config)
    graph.update_state(after_search(config), {"sources": ["extra_3.pdf", "extra_4.pdf"]}, as_node="search")
    return str(graph.invoke(None, config)["summary"])  # config, not the checkpoint: that would replay the old branch


def fork_a_channel_without_a_reducer() -> str:
    """Updates of such a channel overwrite."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config)
    graph.update_state(after_search(config), {"status": "edited"}, as_node="search")
    return str(graph.get_state(config).values["status"])


def edit_as_a_human() -> tuple[list[str], str, tuple[str, ...]]:
    """A virtual author's update: values change, what runs next does not."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config, interrupt_before=["analyze"])
    graph.update_state(config, {"sources": ["manually_added"]}, as_node="human")
    graph.update_state(config, {"status": "manually_approved"}, as_node="human")
    state = graph.get_state(config)
    return state.values["sources"], state.values["status"], state.next


def sign_as(node: str) -> tuple[str, ...]:
    """At the checkpoint before analyze, whoever signs an update decides what runs next."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config, interrupt_before=["analyze"])
    graph.update_state(config, {"analysis": "new"}, as_node=node)
    return graph.get_state(config).next


def inject_an_analysis() -> str:
    """The result of analyze given by hand: analyze does not run."""
    config = new_thread()
    graph.invoke({"query": "checkpoints"}, config, interrupt_before=["analyze"])
    graph.update_state(config, {"analysis": "Analyzed by hand"}, as_node="analyze")
    return str(graph.invoke(None, config)["summary"])


def resume_by_itself(attempts: int = 3) -> str:
    """Resumes a failed thread up to three times. (A node's own `RetryPolicy` does that without a loop.)"""
    config = new_thread()
    outages["analyze"] = 2
    given: dict[str, Any] | None = {"query": "checkpoints"}
    for attempt in range(attempts + 1):
        try:
            return str(graph.invoke(given, config)["summary"])
        except ConnectionError:
            if attempt == attempts:
                raise
            given = None
    raise AssertionError("not reached")


if __name__ == "__main__":
    print("replay:              ", replay())
    print("fork, more sources:  ", fork_and_add_sources())
    print("without a reducer:   ", fork_a_channel_without_a_reducer())
    print("as a human:          ", *edit_as_a_human())
    print("as analyze:          ", sign_as("analyze"))
    print("as search:           ", sign_as("search"))
    print("injected:            ", inject_an_analysis())
    print("resumed by itself:   ", resume_by_itself())
    print("runs of each node:   ", runs)
