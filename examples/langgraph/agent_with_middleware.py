"""An agent that frees disk space on servers. A person approves, edits or rejects each deletion before it happens.

LangChain's agent with three middlewares: one asks the person, one limits the model's calls, and one of our own keeps a
log of the tools that ran. Each is a node or a wrapper of the graph that ``create_agent`` builds.

Run it: python examples/langgraph/agent_with_middleware.py disks-1
"""

from collections.abc import Callable
from operator import add
from typing import Annotated, Any, NotRequired

from fake_model import Script, arguments, call, chat_model, tell
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ToolCallRequest,
)
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.runtime import Runtime
from langgraph.types import Command

import stepgraph

QUESTION = "The servers atlas and borea run out of disk space. Free some, please."

USAGE = {"atlas": {"logs": 81, "database": 12}, "borea": {"logs": 3, "database": 88}}

SCRIPT: Script = [
    (r"tool delete_logs: .*(?P<freed>Freed[^\n]+)", "{freed} On borea the database needs the space: add a disk."),
    (r"tool delete_logs: ", "Then I leave the logs as they are. atlas stays nearly full until you decide."),
    (r"tool disk_usage: ", [call("delete_logs", server="atlas", keep_days=1)]),
    (r"human: ", [call("disk_usage", server="atlas"), call("disk_usage", server="borea")]),
]


@tool
def disk_usage(server: str) -> str:
    """Return what fills the disk of a server, in GB."""
    tell(f"measures {server}")
    return f"{server}: " + ", ".join(f"{what} {size} GB" for what, size in USAGE[server].items())


@tool
def delete_logs(server: str, keep_days: int) -> str:
    """Delete the logs of a server, apart from those of the last days."""
    tell(f"deletes logs of {server}, keeps {keep_days} days")
    return f"Freed {max(0, USAGE[server]['logs'] - 4 * keep_days)} GB on {server}, kept {keep_days} days of logs."


class LoggedState(AgentState):
    """The agent's state with the log that `ToolLog` keeps."""

    tool_log: NotRequired[Annotated[list[str], add]]


class ToolLog(AgentMiddleware[LoggedState]):
    """Logs what the model asked for, and names the tool in each error message that goes back to it."""

    state_schema = LoggedState

    def after_model(self, state: LoggedState, runtime: Runtime[None]) -> dict[str, Any] | None:
        """Add the calls of the latest answer to the log."""
        answer = state["messages"][-1]
        calls = answer.tool_calls if isinstance(answer, AIMessage) else []
        return {"tool_log": [f"{each['name']} {each['args']['server']}" for each in calls]} if calls else None

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Turn an unknown server into a message that the model can act on."""
        try:
            return handler(request)
        except KeyError as error:
            text = f"{request.tool_call['name']} knows no server {error}; there are {', '.join(USAGE)}."
            return ToolMessage(text, tool_call_id=request.tool_call["id"], status="error")


agent = create_agent(
    chat_model(SCRIPT),
    tools=[disk_usage, delete_logs],
    system_prompt="You look after servers. Measure before you delete, and delete nothing but logs.",
    middleware=[
        ToolLog(),
        HumanInTheLoopMiddleware(interrupt_on={"delete_logs": True}),
        ModelCallLimitMiddleware(run_limit=8),
    ],
)
graph = stepgraph.adopt(agent)


def decide(action: dict[str, Any]) -> dict[str, Any]:
    """Ask the person at the terminal about one tool call."""
    print(f"Agent wants: {action['name']} {action['args']}")
    word, _, rest = input("yes, no REASON, or keep DAYS? ").partition(" ")
    if word == "keep":
        args = {**action["args"], "keep_days": int(rest)}
        return {"type": "edit", "edited_action": {"name": action["name"], "args": args}}
    return {"type": "approve"} if word == "yes" else {"type": "reject", "message": rest or "Not now."}


def main(thread_id: str) -> None:
    """Ask the question on a new thread, and the person whenever the agent waits for a decision."""
    config = {"configurable": {"thread_id": thread_id}}
    begun = graph.get_state(config).created_at is not None
    print(f"You: {QUESTION}")
    result = graph.invoke(None if begun else {"messages": [("user", QUESTION)]}, config)
    while waiting := result.get("__interrupt__"):
        decisions = [decide(action) for action in waiting[0].value["action_requests"]]
        result = graph.invoke(Command(resume={"decisions": decisions}), config)
    print(f"Agent: {result['messages'][-1].text}")
    print(f"Log: {'; '.join(result['tool_log'])}")


if __name__ == "__main__":
    main(arguments().thread)
