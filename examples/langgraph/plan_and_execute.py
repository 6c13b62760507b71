"""Plan and execute: the model makes a plan, solves its steps one by one with tools, and revises the plan after each.

Written for LangGraph; only the imports are stepgraph's.

Run it: python examples/langgraph/plan_and_execute.py bakeries-1
"""

from operator import add
from typing import Annotated, Literal

from fake_model import Script, arguments, call, chat_model, tell
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph

TASK = "Which of our bakeries, Harbour or Mill, earned more per employee in March?"

REVENUE = {"Harbour": 84_000, "Mill": 51_300}
STAFF = {"Harbour": 12, "Mill": 6}

SCRIPT: Script = [
    (r"human: Make a plan", [call("Plan", steps=["Harbour per head", "Mill per head", "Compare both"])]),
    (r"human: Solve: Compare both.*Harbour per head: (?P<h>\S+).*Mill per head: (?P<m>\S+)", "{h} against {m}: Mill."),
    (r"human: Solve: (?P<who>\w+) per head.*tool divide: (?P<each>\d+)", "{each} euros"),
    (
        r"human: Solve: .*tool revenue: (?P<total>\d+).*tool staff: (?P<heads>\d+)",
        [call("divide", total="{total}", by="{heads}")],
    ),
    (r"human: Solve: (?P<who>\w+) per head", [call("revenue", bakery="{who}"), call("staff", bakery="{who}")]),
    (r"human: Revise.*Compare both: (?P<result>\S+ against \S+): Mill", [call("Revision", answer="Mill: {result}.")]),
    (r"human: Revise.*- Mill per head", [call("Revision", steps=["Compare both"])]),
    (r"human: Revise", [call("Revision", steps=["Mill per head", "Compare both"])]),
]


@tool
def revenue(bakery: str) -> int:
    """Return what a bakery earned in March, in euros."""
    tell(f"looks up the revenue of {bakery}")
    return REVENUE[bakery]


@tool
def staff(bakery: str) -> int:
    """Return how many people work in a bakery."""
    tell(f"counts the staff of {bakery}")
    return STAFF[bakery]


@tool
def divide(total: float, by: float) -> float:
    """Divide a number by another."""
    tell(f"divides {total:g} by {by:g}")
    return round(total / by, 2)


class Plan(BaseModel):
    """The steps to take, in order."""

    steps: list[str] = Field(description="Each is a task on its own; the last one gives the answer.")


class Revision(BaseModel):
    """What is left to do, or the answer if nothing is."""

    steps: list[str] = Field(default=[], description="Only the steps that are still needed.")
    answer: str | None = Field(default=None, description="The answer to the task, once the steps have given it.")


class State(TypedDict, total=False):
    """The task, the steps that are left, the results of those that are done, and the answer."""

    task: str
    steps: list[str]
    done: Annotated[list[tuple[str, str]], add]
    answer: str | None


TOOLS = {each.name: each for each in (revenue, staff, divide)}
llm = chat_model(SCRIPT)
planner = llm.with_structured_output(Plan)
reviser = llm.with_structured_output(Revision)
solver = llm.bind_tools(list(TOOLS.values()))


def plan(state: State) -> State:
    """Make the first plan."""
    made = planner.invoke(f"Make a plan of few steps. Task: {state['task']}")
    tell(f"plans: {'; '.join(made.steps)}")
    return {"steps": made.steps}


def execute(state: State) -> State:
    """Solve the first step, with as many tool calls as it takes."""
    step = state["steps"][0]
    messages: list[AnyMessage] = [
        SystemMessage("Solve one step with the tools. Answer in one line."),
        HumanMessage(f"Solve: {step}\nKnown so far:\n{_results(state)}"),
    ]
    while (answer := solver.invoke(messages)).tool_calls:
        messages += [answer, *(TOOLS[wanted["name"]].invoke(wanted) for wanted in answer.tool_calls)]
    tell(f"has solved: {step}")
    return {"done": [(step, answer.text)]}


def revise(state: State) -> State:
    """Drop the steps that are done, change what the results call for, or give the answer."""
    prompt = f"Revise the plan. Task: {state['task']}\nSteps: {state['steps']}\nDone:\n{_results(state)}"
    revision = reviser.invoke(prompt)
    return {"steps": revision.steps, "answer": revision.answer}


def go_on_or_end(state: State) -> Literal["execute", "__end__"]:
    """Execute the next step unless there is an answer."""
    return END if state.get("answer") or not state["steps"] else "execute"


def _results(state: State) -> str:
    return "\n".join(f"- {step}: {result}" for step, result in state.get("done", []))


builder = StateGraph(State)
builder.add_node("plan", plan)
builder.add_node("execute", execute)
builder.add_node("revise", revise)
builder.add_edge(START, "plan")
builder.add_edge("plan", "execute")
builder.add_edge("execute", "revise")
builder.add_conditional_edges("revise", go_on_or_end)
graph = builder.compile()


def main(thread_id: str) -> None:
    """Give the task to a new thread. On a thread that was begun, go on where it is."""
    config = {"configurable": {"thread_id": thread_id}}
    begun = graph.get_state(config).created_at is not None
    print(f"Task: {TASK}")
    result = graph.invoke(None if begun else {"task": TASK}, config)
    for step, outcome in result["done"]:
        print(f"Step: {step}: {outcome}")
    print(f"Answer: {result['answer']}")


if __name__ == "__main__":
    main(arguments().thread)
