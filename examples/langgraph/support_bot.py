"""A support bot for a bicycle rental. It looks things up by itself; a person approves what changes a booking.

A LangGraph graph with two ``ToolNode``s and a breakpoint before the sensitive one, compiled by LangGraph and adopted.

Run it: python examples/langgraph/support_bot.py support-1
"""

from typing import Any, Literal

from fake_model import Script, arguments, call, chat_model, tell
from langchain_core.messages import BaseMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

import stepgraph

QUESTIONS = ["Until when may I cancel the cargo bike?", "Then cancel it, please."]

BOOKINGS = {"B-204": {"member": "M-17", "bike": "cargo bike", "day": "Sunday", "price": 38}}
RULES = {"cancel": "A booking may be cancelled until the evening before.", "delay": "An hour late costs 4 euros."}

SCRIPT: Script = [
    (r"tool cancel_booking: (?P<done>Cancelled[^\n]+)", "{done}"),
    (r"tool cancel_booking: Denied: (?P<reason>[^\n]+)", "I may not cancel it: {reason}"),
    (r"human: Then cancel.*tool my_bookings: (?P<booking>B-\d+)", [call("cancel_booking", booking="{booking}")]),
    (r"human: Then cancel", [call("my_bookings")]),
    (
        r"human: Until when.*tool my_bookings: \S+ (?P<bike>[\w ]+) on (?P<day>\w+)",
        "The {bike}: until the evening before {day}.",
    ),
    (r"human: Until when", [call("rules", subject="cancel"), call("my_bookings")]),
]


@tool
def rules(subject: Literal["cancel", "delay"]) -> str:
    """Return what the rules of the rental say."""
    tell(f"reads the rules: {subject}")
    return RULES[subject]


@tool
def my_bookings(config: RunnableConfig) -> str:
    """Return the bookings of the member who asks."""
    tell("looks up the bookings")
    mine = {key: each for key, each in BOOKINGS.items() if each["member"] == config["configurable"]["member"]}
    return "; ".join(f"{key} {each['bike']} on {each['day']}, {each['price']} euros" for key, each in mine.items())


@tool
def cancel_booking(booking: str, config: RunnableConfig) -> str:
    """Cancel a booking of the member, and refund its price."""
    tell(f"cancels {booking}")
    if BOOKINGS[booking]["member"] != config["configurable"]["member"]:
        raise ValueError(f"{booking} is another member's booking.")
    return f"Cancelled {booking}; {BOOKINGS[booking]['price']} euros come back to you."


class State(MessagesState):
    """The conversation, and who takes part in it."""

    member_name: str


SENSITIVE = [cancel_booking]
SAFE = [rules, my_bookings]
llm = chat_model(SCRIPT).bind_tools([*SAFE, *SENSITIVE])


def load_member(state: State, config: RunnableConfig) -> dict[str, str]:
    """Find out who asks, before the model is asked."""
    return {"member_name": {"M-17": "Ines"}[config["configurable"]["member"]]}


def assistant(state: State) -> dict[str, list[BaseMessage]]:
    """Ask the model for an answer, or for the tools that it needs."""
    prompt = SystemMessage(f"You help members of a bicycle rental. You speak with {state['member_name']}.")
    return {"messages": [llm.invoke([prompt, *state["messages"]])]}


def choose_tools(state: State) -> Literal["safe_tools", "sensitive_tools", "__end__"]:
    """Send calls of sensitive tools, and what was called beside them, to the node that waits for approval."""
    called = {each["name"] for each in state["messages"][-1].tool_calls}
    if not called:
        return END
    return "sensitive_tools" if called & {each.name for each in SENSITIVE} else "safe_tools"


builder = StateGraph(State)
builder.add_node(load_member)
builder.add_node(assistant)
builder.add_node("safe_tools", ToolNode(SAFE))
builder.add_node("sensitive_tools", ToolNode([*SAFE, *SENSITIVE]))
builder.add_edge(START, "load_member")
builder.add_edge("load_member", "assistant")
builder.add_conditional_edges("assistant", choose_tools)
builder.add_edge("safe_tools", "assistant")
builder.add_edge("sensitive_tools", "assistant")
graph = stepgraph.adopt(builder.compile(interrupt_before=["sensitive_tools"]))


def decide(config: dict[str, Any]) -> None:
    """Ask a person about the calls that wait, and run them, or answer them with the reason why not."""
    calls = graph.get_state(config).values["messages"][-1].tool_calls
    for each in calls:
        print(f"Bot wants: {each['name']} {each['args']}")
    answer = input("yes, or the reason why not? ")
    if answer != "yes":
        denials = [ToolMessage(f"Denied: {answer}", tool_call_id=each["id"], name=each["name"]) for each in calls]
        graph.update_state(config, {"messages": denials}, as_node="sensitive_tools")
    graph.invoke(None, config)


def main(thread_id: str) -> None:
    """Ask the questions that were not asked yet, each when the one before has its answer."""
    config = {"configurable": {"thread_id": thread_id, "member": "M-17"}}
    while True:
        state = graph.get_state(config)
        messages = state.values.get("messages", [])
        asked = [message.text for message in messages if message.type == "human"]
        if state.next == ("sensitive_tools",):
            decide(config)
        elif state.next:
            graph.invoke(None, config)
        elif len(asked) < len(QUESTIONS):
            graph.invoke({"messages": [("user", QUESTIONS[len(asked)])]}, config)
        else:
            break
    for message in messages:
        if message.type == "human" or (message.type == "ai" and message.text):
            print(f"{'You' if message.type == 'human' else 'Bot'}: {message.text}")


if __name__ == "__main__":
    main(arguments().thread)
