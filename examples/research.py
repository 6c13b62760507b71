"""A research pipeline of three nodes: gather, analyze, report. Analyze fails at its first attempt; then it is resumed.

Run it: python examples/research.py
"""

from operator import add
from typing import Annotated, TypedDict

from stepgraph import END, START, StateGraph


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]
    analysis: str
    summary: str


runs = {"gather": 0, "analyze": 0, "report": 0}
"""How often each node has run in this process."""


def gather(state: Research) -> dict[str, list[str]]:
    runs["gather"] += 1
    return {"sources": ["paper_1.pdf", "paper_2.pdf", "paper_3.pdf"]}


def analyze(state: Research) -> dict[str, str]:
    runs["analyze"] += 1
    if runs["analyze"] == 1:
        raise ConnectionError("the paper service does not answer")
    return {"analysis": f"{len(state['sources'])} sources on {state['query']} agree"}


def report(state: Research) -> dict[str, str]:
    runs["report"] += 1
    return {"summary": f"Report: {state['analysis']}."}


builder = StateGraph(Research)
builder.add_node(gather)
builder.add_node(analyze)
builder.add_node(report)
builder.add_edge(START, "gather")
builder.add_edge("gather", "analyze")
builder.add_edge("analyze", "report")
builder.add_edge("report", END)
graph = builder.compile(name="research")


if __name__ == "__main__":
    import uuid

    config = {"configurable": {"thread_id": f"research-{uuid.uuid4().hex[:8]}"}}
    try:
        graph.invoke({"query": "state management"}, config)
    except ConnectionError as error:
        print(f"Failed: {error}")
        print(f"Saved:  {graph.get_state(config).values['sources']}, next {graph.get_state(config).next}")
    print(graph.invoke(None, config)["summary"])
    for snapshot in graph.get_state_history(config):
        print(f"Step {snapshot.metadata['step']}: {', '.join(snapshot.metadata['writes'] or ['input'])}")
    print(f"Runs of each node: {runs}")
