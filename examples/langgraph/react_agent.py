"""A ReAct agent that plans a day out: it looks at two forecasts side by side, finds a train, and reserves a seat.

A loop of a model and LangGraph's ``ToolNode``, built with LangGraph and adopted as it is.

Run it: python examples/langgraph/react_agent.py trip-1
"""

from fake_model import Script, arguments, call, chat_model, tell
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

import stepgraph

QUESTION = "I am in Trondheim. Oslo or Bergen on Saturday, whichever is dry? Reserve a seat there, please."

PROMPT = SystemMessage(
    "You plan days out by train. Look at the weather before you choose a city, and reserve exactly one seat."
)

FORECASTS = {"Oslo": "rain until the evening, 9 °C", "Bergen": "dry and bright, 14 °C"}
TIMETABLE = {"Oslo": ("R20", "07:18"), "Bergen": ("R61", "08:04")}

SCRIPT: Script = [
    (r"tool reserve_seat: (?P<seat>.+)", "Bergen: it stays dry there, while Oslo has rain. {seat}"),
    (r"tool next_train: (?P<train>\w+)", [call("reserve_seat", train="{train}", day="Saturday")]),
    (r"tool forecast: ", [call("next_train", destination="Bergen", day="Saturday")]),
    (r"human: ", [call("forecast", city="Oslo", day="Saturday"), call("forecast", city="Bergen", day="Saturday")]),
]


@tool
def forecast(city: str, day: str) -> str:
    """Return the weather forecast for a city on a day of this week."""
    tell(f"looks at the forecast for {city}")
    return f"{city} on {day}: {FORECASTS.get(city, 'unknown')}"


@tool
def next_train(destination: str, day: str) -> str:
    """Return the first train of the day from Trondheim to a city."""
    tell(f"looks for a train to {destination}")
    if destination not in TIMETABLE:
        raise ValueError(f"No train goes to {destination}. Trains go to {', '.join(TIMETABLE)}.")
    train, time = TIMETABLE[destination]
    return f"{train} to {destination}, {day} at {time}"


@tool
def reserve_seat(train: str, day: str) -> str:
    """Reserve one seat on a train, and return its number."""
    tell(f"reserves a seat on {train}")
    return f"Your seat on {train}, {day}: coach 4, seat {sum(map(ord, train)) % 60}."


TOOLS = [forecast, next_train, reserve_seat]
llm = chat_model(SCRIPT).bind_tools(TOOLS)


def think(state: MessagesState) -> dict[str, list[BaseMessage]]:
    """Ask the model what to do next."""
    return {"messages": [llm.invoke([PROMPT, *state["messages"]])]}


builder = StateGraph(MessagesState)
builder.add_node("think", think)
builder.add_node("tools", ToolNode(TOOLS, handle_tool_errors=(ValueError,)))
builder.add_edge(START, "think")
builder.add_conditional_edges("think", tools_condition)
builder.add_edge("tools", "think")
graph = stepgraph.adopt(builder)


def main(thread_id: str) -> None:
    """Ask the question on a new thread. On a thread that was begun, go on where it is."""
    config = {"configurable": {"thread_id": thread_id}}
    begun = graph.get_state(config).created_at is not None
    print(f"You: {QUESTION}")
    result = graph.invoke(None if begun else {"messages": [("user", QUESTION)]}, config)
    print(f"Agent: {result['messages'][-1].text}")


if __name__ == "__main__":
    main(arguments().thread)
