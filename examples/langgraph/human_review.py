"""Human review: a notice is published only after a person has read it, edited it, or had it written again.

Afterwards the person may go back in time: the first draft is edited, and the thread goes on from there on a branch.
Written for LangGraph; only the imports are stepgraph's.

Run it: python examples/langgraph/human_review.py notice-1
"""

from operator import add
from typing import Annotated, Any, Literal

from fake_model import Script, arguments, chat_model, tell
from langchain_core.runnables import RunnableConfig
from typing_extensions import TypedDict

from stepgraph import END, START, Command, Interrupt, StateGraph, interrupt

SUBJECT = "The lift of house 7 is repaired on Tuesday from 9 to 12."

SCRIPT: Script = [
    (r"human: Write a notice.*Wishes:.*short", "No lift in house 7 on Tuesday, 9 to 12."),
    (r"human: Write a notice", "Dear neighbours, on Tuesday between 9 and 12 the lift of house 7 is under repair."),
]


class State(TypedDict, total=False):
    """What to write about, the draft, the reviewer's wishes so far, and what was published."""

    subject: str
    draft: str
    wishes: Annotated[list[str], add]
    published: Annotated[list[str], add]


llm = chat_model(SCRIPT)


def write(state: State) -> State:
    """Write a draft that follows all wishes."""
    prompt = f"Write a notice about: {state['subject']}\nWishes: {'; '.join(state.get('wishes', [])) or 'none'}"
    draft = llm.invoke(prompt).text
    tell("has written a draft")
    return {"draft": draft}


def review(state: State) -> Command[Literal["write", "review", "publish"]]:
    """Wait for a person: publish, publish an edited text, write again with a wish; ask again if it is none of these."""
    answer = interrupt({"question": "Publish this?", "draft": state["draft"]})
    match answer:
        case {"action": "edit", "text": text}:
            return Command(update={"draft": text}, goto="publish")
        case {"action": "wish", "text": text}:
            return Command(update={"wishes": [text]}, goto="write")
        case {"action": "publish"}:
            return Command(goto="publish")
        case _:  # nobody knows what was meant
            return Command(goto="review")


def publish(state: State) -> State:
    """Publish the draft."""
    tell(f"publishes: {state['draft']}")
    return {"published": [state["draft"]]}


builder = StateGraph(State)
builder.add_node("write", write)
builder.add_node("review", review)
builder.add_node("publish", publish)
builder.add_edge(START, "write")
builder.add_edge("write", "review")
builder.add_edge("publish", END)
graph = builder.compile()


def ask(waiting: Interrupt) -> dict[str, str]:
    """Show the reviewer the draft, and return the answer for the node that waits."""
    print(f"Draft: {waiting.value['draft']}")
    action, _, text = input("publish, edit TEXT, or wish TEXT? ").partition(" ")
    return {"action": action, "text": text}


def run(graph_input: State | None, config: RunnableConfig) -> dict[str, Any]:
    """Run the thread, and ask the reviewer as long as it waits."""
    result = graph.invoke(graph_input, config)
    while waiting := result.get("__interrupt__"):
        result = graph.invoke(Command(resume=ask(waiting[0])), config)
    return result


def main(thread_id: str) -> None:
    """Have a notice reviewed and published; then offer to go on from its first draft with another text."""
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
    begun = graph.get_state(config).created_at is not None
    result = run(None if begun else {"subject": SUBJECT}, config)
    print(f"Published: {result['published'][-1]}")
    if text := input("Another text for the first draft (empty: none)? "):
        first = [snapshot for snapshot in graph.get_state_history(config) if snapshot.next == ("review",)][-1]
        graph.update_state(first.config, {"draft": text})
        result = run(None, config)
        print(f"Published on a branch: {result['published'][-1]}")


if __name__ == "__main__":
    main(arguments().thread)
