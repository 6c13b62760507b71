"""A person approves: the graph waits, for months if need be, and goes on with the answer.

Serve it with a worker, and answer from the command line or the Web UI's "Send a Signal":

    python worker.py --graphs examples.approval:graph
    python starter.py run approval --input '{"amount": 900}' --thread order-1
    temporal workflow signal --workflow-id order-1 --name resume --input '{"resume": "yes"}'
"""

from typing import Any, TypedDict

from stepgraph import END, START, StateGraph, interrupt

DAY = 24 * 60 * 60


class Order(TypedDict):
    amount: int
    approved: bool
    outcome: str


def review(state: Order) -> dict[str, Any]:
    if state["amount"] < 500:
        return {"approved": True}
    answer = interrupt({"approve?": state["amount"]}, timeout=3 * DAY, default="no")
    return {"approved": answer == "yes"}


def round_trip(state: Order) -> dict[str, str]:
    return {"outcome": "paid" if state["approved"] else "declined"}


builder = StateGraph(Order)
builder.add_node(review)
builder.add_node(round_trip)
builder.add_edge(START, "review")
builder.add_edge("review", "settle")
builder.add_edge("settle", END)
graph = builder.compile(name="approval")


if __name__ == "__main__":
    import uuid

    from stepgraph import Command

    config = {"configurable": {"thread_id": f"order-{uuid.uuid4().hex[:8]}"}}
    print("asks:   ", graph.invoke({"amount": 900}, config)["__interrupt__"])
    print("answered", graph.invoke(Command(resume="yes"), config)["outcome"])
