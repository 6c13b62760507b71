"""Long-term memory: what a person says in one conversation is known in the next, through a store.

The facts are kept by subject under the person's id, so a later fact on a subject replaces the former one.
Written for LangGraph; only the imports are stepgraph's.

Run it: python examples/langgraph/long_term_memory.py cook-1
"""

import sqlite3
from dataclasses import dataclass

from fake_model import Script, arguments, call, chat_model, tell
from langchain_core.messages import BaseMessage, SystemMessage
from langgraph.store.sqlite import SqliteStore
from pydantic import BaseModel, Field

from stepgraph import END, START, MessagesState, Runtime, StateGraph

CONVERSATIONS = {
    "monday": "We are four at home, and Ada does not eat nuts. What goes with roast pumpkin?",
    "friday": "What shall I cook tonight?",
}

SCRIPT: Script = [
    (
        r"human: Which facts.*We are four.*does not eat nuts",
        [call("Facts", facts=[{"subject": "people", "text": "four"}, {"subject": "avoid", "text": "nuts"}])],
    ),
    (r"human: Which facts", [call("Facts", facts=[])]),
    (
        r"system: .*avoid: (?P<avoid>\w+).*people: (?P<people>\w+).*human: What shall I",
        "Risotto for {people}, no {avoid}.",
    ),
    (r"human: What shall I", "A hazelnut cake?"),
    (r"human: .*roast pumpkin", "Lentils with lemon."),
]


class Fact(BaseModel):
    """Something about a person that will still be true next week."""

    subject: str = Field(description="One word. A later fact on the same subject replaces this one.")
    text: str


class Facts(BaseModel):
    """The facts in a message; none, if it only asks something."""

    facts: list[Fact]


@dataclass
class Context:
    """Who takes part in a conversation."""

    user_id: str


class State(MessagesState):
    """The conversation, and the facts that were known when it began."""

    known: list[str]


llm = chat_model(SCRIPT)


def recall(state: State, runtime: Runtime[Context]) -> dict[str, list[str]]:
    """Read what is known about the person."""
    items = runtime.store.search(("facts", runtime.context.user_id))
    return {"known": sorted(f"{item.key}: {item.value['text']}" for item in items)}


def reply(state: State) -> dict[str, list[BaseMessage]]:
    """Answer with the facts at hand."""
    prompt = SystemMessage(f"You help with cooking. You know of your guest: {'; '.join(state['known'])}")
    answer = llm.invoke([prompt, *state["messages"]])
    tell(f"has answered, and knew {', '.join(state['known']) or 'nothing'}")
    return {"messages": [answer]}


def remember(state: State, runtime: Runtime[Context]) -> None:
    """Keep the facts that the latest message of the person holds."""
    said = [message for message in state["messages"] if message.type == "human"][-1]
    found = llm.with_structured_output(Facts).invoke(f"Which facts about a person are in: {said.text}")
    for fact in found.facts:
        tell(f"remembers {fact.subject}: {fact.text}")
        runtime.store.put(("facts", runtime.context.user_id), fact.subject, {"text": fact.text})


store = SqliteStore(sqlite3.connect("memories.db", check_same_thread=False, isolation_level=None))
store.setup()

builder = StateGraph(State, context_schema=Context)
builder.add_node(recall)
builder.add_node(reply)
builder.add_node(remember)
builder.add_edge(START, "recall")
builder.add_edge("recall", "reply")
builder.add_edge("reply", "remember")
builder.add_edge("remember", END)
graph = builder.compile(store=store)


def main(thread_id: str) -> None:
    """Hold two conversations, each on a thread of its own, with the same person."""
    for day, question in CONVERSATIONS.items():
        config = {"configurable": {"thread_id": f"{thread_id}-{day}"}}
        begun = graph.get_state(config).created_at is not None
        print(f"You, on {day}: {question}")
        messages = None if begun else {"messages": [("user", question)]}
        result = graph.invoke(messages, config, context=Context(user_id=thread_id))
        print(f"Cook: {result['messages'][-1].text}")


if __name__ == "__main__":
    main(arguments().thread)
