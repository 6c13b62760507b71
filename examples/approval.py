"""Approval by a human: the graph waits at an interrupt for up to three days, and goes on with the answer.

Run it: python examples/approval.py

Or serve it with a worker, and answer from the command line or with "Send a Signal" in the Web UI:

    python worker.py --graphs examples.approval:graph
    python starter.py run approval --input '{"amount": 900}' --thread order-1
    temporal workflow signal --workflow-id order-1 --name resume --input '{"resume": "yes"}'
"""

from typing import Any, TypedDict

from stepgraph import END, START, StateGraph, interrupt

DAY_SECONDS = 24 * 60 * 60


class Order(TypedDict):
    amount: int
    approved: bool
    outcome: str


def review(state: Order) -> dict[str, Any]:
    if state["amount"] < 500:
        return {"approved": True}
    answer = interrupt({"approve?": state["amount"]}, timeout=3 * DAY_SECONDS, default="no")
    return {"approved": answer == "yes"}


def settle(state: Order) -> dict[str, str]:
    return {"outcome": "paid" if state["approved"] else "declined"}


builder = StateGraph(Order)
builder.add_node(review)
builder.add_node(settle)
builder.add_edge(START, "review")
builder.add_edge("review", "settle")
builder.add_edge("settle", END)
graph = builder.compile(name="approval")


if __name__ == "__main__":
    import uuid

    from stepgraph import Command

    config = {"configurable": {"thread_id": f"order-{uuid.uuid4().hex[:8]}"}}
    print("interrupt:", graph.invoke({"amount": 900}, config)["__interrupt__"])
    print("resumed:  ", graph.invoke(Command(resume="yes"), config)["outcome"])
