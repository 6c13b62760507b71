"""Two parallel nodes, one of which fails at its first attempt. On resume only the failed node runs again.

Run it: python examples/parallel.py
"""

from operator import add
from typing import Annotated, TypedDict

from stepgraph import END, START, StateGraph


class Offers(TypedDict):
    trip: str
    offers: Annotated[list[str], add]
    choice: str


runs = {"flights": 0, "hotels": 0, "choose": 0}
"""How often each node has run in this process."""


def flights(state: Offers) -> dict[str, list[str]]:
    runs["flights"] += 1
    return {"offers": [f"flight to {state['trip']}, 120 €"]}


async def hotels(state: Offers) -> dict[str, list[str]]:
    runs["hotels"] += 1
    if runs["hotels"] == 1:
        raise ConnectionError("the hotel service does not answer")
    return {"offers": [f"hotel in {state['trip']}, 80 €"]}


def choose(state: Offers) -> dict[str, str]:
    runs["choose"] += 1
    return {"choice": " + ".join(state["offers"])}


builder = StateGraph(Offers)
builder.add_node(flights)
builder.add_node(hotels)
builder.add_node(choose)
builder.add_edge(START, "flights")
builder.add_edge(START, "hotels")
builder.add_edge(["flights", "hotels"], "choose")
builder.add_edge("choose", END)
graph = builder.compile(name="parallel")


if __name__ == "__main__":
    import uuid

    config = {"configurable": {"thread_id": f"parallel-{uuid.uuid4().hex[:8]}"}}
    try:
        graph.invoke({"trip": "Lisbon"}, config)
    except ConnectionError as error:
        print(f"Failed: {error}")
        print(f"To run: {graph.get_state(config).next}")
    print(graph.invoke(None, config)["choice"])
    print(f"Runs of each node: {runs}")
