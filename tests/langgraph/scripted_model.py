"""A chat model that says what its script says, in any process."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class ScriptedModel(BaseChatModel):
    """Gives the answer whose number is that of the model's messages so far. It has no state of its own."""

    script: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_options: Any) -> Any:
        """Return the model itself: the script knows the tools."""
        return self

    def _generate(self, messages: list[BaseMessage], *_arguments: Any, **_options: Any) -> ChatResult:
        number = sum(isinstance(message, AIMessage) for message in messages)
        line = self.script[min(number, len(self.script) - 1)]
        message = line.model_copy(update={"id": None}) if isinstance(line, AIMessage) else AIMessage(line)
        return ChatResult(generations=[ChatGeneration(message=message)])


def calling(*calls: tuple[str, dict[str, Any]]) -> AIMessage:
    """Return a message that calls tools: the name and the arguments of each."""
    tool_calls = [
        {"name": name, "args": arguments, "id": f"call-{name}-{number}", "type": "tool_call"}
        for number, (name, arguments) in enumerate(calls)
    ]
    return AIMessage("", tool_calls=tool_calls)
