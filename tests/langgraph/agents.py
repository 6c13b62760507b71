"""Programs with agents: prebuilt ones, with and without middleware, and one written by hand."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, NotRequired

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
)
from langchain.agents.middleware.types import OmitFromInput, PrivateStateAttr
from langchain.agents.structured_output import ToolStrategy
from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, create_react_agent, tools_condition
from langgraph.types import Command, interrupt
from langgraph.warnings import LangGraphDeprecatedSinceV10
from pydantic import BaseModel

from tests.langgraph.programs import EACH, Programs
from tests.langgraph.scripted_model import ScriptedModel, calling

programs = Programs()
program = programs.program

QUESTION = {"messages": [("user", "what is 1 + 2, and 3 * 4?")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def multiply(a: int, b: int, state: Annotated[dict[str, Any], InjectedState]) -> str:
    """Multiply two numbers, and tell how many messages the state has."""
    return f"{a * b} after {len(state['messages'])} messages"


CALCULATOR = [calling(("add", {"a": 1, "b": 2}), ("multiply", {"a": 3, "b": 4})), "three and twelve"]


@program(QUESTION)
def react_agent() -> Any:
    """`create_react_agent` with two tools."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangGraphDeprecatedSinceV10)
        return create_react_agent(ScriptedModel(script=CALCULATOR), [add, multiply], prompt="Be brief.")


@program(QUESTION)
def agent_by_hand() -> Any:
    """A model, a `ToolNode` and `tools_condition`."""
    model = ScriptedModel(script=CALCULATOR)
    builder = StateGraph(MessagesState)
    builder.add_node("llm", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([add, multiply])).add_edge(START, "llm").add_edge("tools", "llm")
    return builder.add_conditional_edges("llm", tools_condition).compile()


@program(QUESTION, {"decisions": [{"type": "approve"}]})
def agent_with_approval() -> Any:
    """`create_agent` with `HumanInTheLoopMiddleware`: a human approves one of the tools."""
    middleware = HumanInTheLoopMiddleware(interrupt_on={"multiply": True})
    return create_agent(ScriptedModel(script=CALCULATOR), [add, multiply], middleware=[middleware])


class Counts(AgentState[Any]):
    """A state with private keys."""

    count: NotRequired[Annotated[int, PrivateStateAttr]]
    hidden: NotRequired[Annotated[str, OmitFromInput]]


class Counting(AgentMiddleware[Any, Any]):
    """Middleware with every kind of hook."""

    state_schema = Counts

    def before_model(self, state: Any, runtime: Any) -> Any:
        """Count the calls of the model."""
        return {"count": state.get("count", 0) + 1}

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        """Call the model."""
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        """Call the model."""
        return await handler(request)

    def after_agent(self, state: Any, runtime: Any) -> Any:
        """Tell the count."""
        return {"hidden": f"the model was called {state['count']} times"}


@program({**QUESTION, "count": 7, "hidden": "not taken"})
def agent_with_middleware() -> Any:
    """`create_agent` with middleware that has a state of its own, and a limit of model calls."""
    model = ScriptedModel(script=CALCULATOR)
    middleware = [Counting(), ModelCallLimitMiddleware(run_limit=5)]
    return create_agent(model, [add, multiply], middleware=middleware, system_prompt="Be kind.")


@program(QUESTION)
def agent_that_reaches_its_limit() -> Any:
    """`ModelCallLimitMiddleware` jumps to the end."""
    model = ScriptedModel(script=[CALCULATOR[0]])
    return create_agent(model, [add, multiply], middleware=[ModelCallLimitMiddleware(run_limit=2)])


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


@program(QUESTION)
def agent_with_structured_output() -> Any:
    """`create_agent(response_format=...)`: the result has an instance of the class, which no annotation mentions."""
    model = ScriptedModel(script=[CALCULATOR[0], calling(("Weather", {"city": "Bern", "degrees": 3}))])
    return create_agent(model, [add, multiply], response_format=ToolStrategy(Weather))


@tool
def ask(question: str, runtime: ToolRuntime) -> str:
    """Ask a human, twice."""
    first, second = interrupt(f"{question}, first"), interrupt(f"{question}, second")
    return f"{first}, {second}, {runtime.tool_call_id}, {len(runtime.state['messages'])} messages"


@tool
def note(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Note a text."""
    return Command(update={"messages": [ToolMessage(f"noted {text}", tool_call_id=tool_call_id)]})


@program(QUESTION, EACH, EACH)
def agent_whose_tools_ask() -> Any:
    """Tools side by side that interrupt twice each, and one that returns a command."""
    calls = calling(("ask", {"question": "x"}), ("ask", {"question": "y"}), ("note", {"text": "z"}))
    return create_agent(ScriptedModel(script=[calls, "done"]), [ask, note])
