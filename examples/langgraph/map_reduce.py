"""Map and reduce: name the themes of some reviews, sum each theme up side by side, and write one report.

Each theme is a task of its own, made with ``Send``. Written for LangGraph; only the imports are stepgraph's.

Run it: python examples/langgraph/map_reduce.py reviews-1
"""

from operator import add
from typing import Annotated

from fake_model import Script, arguments, call, chat_model, tell
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from stepgraph import END, START, Send, StateGraph

REVIEWS = [
    "The tent was up in five minutes, but the pegs bent.",
    "Light enough to carry all day. One peg broke.",
    "Rain came through the seams in the second night.",
    "So easy to pitch that my son did it. Dry in a storm.",
    "Heavy for two people, and the seams leak.",
]

SCRIPT: Script = [
    (r"human: Name the themes", [call("Themes", themes=["pegs", "seams", "pitching", "weight"])]),
    (r"human: .* say of pegs:", [call("Summary", text="The pegs bend and break.", complaints=2)]),
    (r"human: .* say of seams:", [call("Summary", text="The seams leak, though not for all.", complaints=2)]),
    (r"human: .* say of pitching:", [call("Summary", text="It is pitched in minutes.", complaints=0)]),
    (r"human: .* say of weight:", [call("Summary", text="Light for one, heavy for two.", complaints=1)]),
    (r"human: Write.*(?P<worst>The pegs[^\n]+)\n(?P<next>The seams[^\n]+)", "Mend first: {worst} Then: {next}"),
]


class Themes(BaseModel):
    """What the reviews speak of."""

    themes: list[str] = Field(description="Two to six themes, each in one word.")


class Summary(BaseModel):
    """What the reviews say of one theme."""

    text: str = Field(description="One sentence.")
    complaints: int = Field(description="How many reviews complain of it.")


class Finding(TypedDict):
    """The summary of a theme, as the report needs it."""

    theme: str
    text: str
    complaints: int


class State(TypedDict, total=False):
    """The reviews, their themes, what was found of each, and the report."""

    reviews: list[str]
    themes: list[str]
    findings: Annotated[list[Finding], add]
    report: str


class ThemeTask(TypedDict):
    """The input of one ``sum_up`` task."""

    theme: str
    reviews: list[str]


llm = chat_model(SCRIPT)


def name_themes(state: State) -> State:
    """Ask the model for the themes."""
    prompt = "Name the themes of these reviews:\n" + "\n".join(state["reviews"])
    named = llm.with_structured_output(Themes).invoke(prompt)
    tell(f"finds the themes {', '.join(named.themes)}")
    return {"themes": named.themes}


def one_task_each(state: State) -> list[Send]:
    """Send each theme to a task of its own."""
    return [Send("sum_up", {"theme": theme, "reviews": state["reviews"]}) for theme in state["themes"]]


def sum_up(state: ThemeTask) -> State:
    """Sum up what the reviews say of one theme."""
    prompt = f"Sum up what these reviews say of {state['theme']}:\n" + "\n".join(state["reviews"])
    summary = llm.with_structured_output(Summary).invoke(prompt)
    tell(f"has summed up {state['theme']}")
    return {"findings": [{"theme": state["theme"], "text": summary.text, "complaints": summary.complaints}]}


def write_report(state: State) -> State:
    """Write the report, with most complaints first."""
    ranked = sorted(state["findings"], key=lambda finding: -finding["complaints"])
    prompt = "Write to the makers, in two sentences:\n" + "\n".join(finding["text"] for finding in ranked)
    report = llm.invoke(prompt).text
    tell(f"has written a report on {len(ranked)} themes")
    return {"report": report}


builder = StateGraph(State)
builder.add_node(name_themes)
builder.add_node(sum_up)
builder.add_node(write_report)
builder.add_edge(START, "name_themes")
builder.add_conditional_edges("name_themes", one_task_each, ["sum_up"])
builder.add_edge("sum_up", "write_report")
builder.add_edge("write_report", END)
graph = builder.compile()


def main(thread_id: str) -> None:
    """Give the reviews to a new thread. On a thread that was begun, go on where it is."""
    config = {"configurable": {"thread_id": thread_id}}
    begun = graph.get_state(config).created_at is not None
    result = graph.invoke(None if begun else {"reviews": REVIEWS}, config)
    for finding in result["findings"]:
        print(f"{finding['theme']}: {finding['text']}")
    print(f"Report: {result['report']}")


if __name__ == "__main__":
    main(arguments().thread)
