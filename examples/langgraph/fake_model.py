"""What the programs in this folder share: a chat model, which is a fake one unless ``--model`` names a real one, the
arguments of the command line, and the lines that tell what a program does.

The fake model plays a script. Its answer depends on the messages alone, so every process that asks gets the same one.

    python examples/langgraph/react_agent.py trip-1 --model anthropic:claude-sonnet-4-5

A worker that serves a program's graph names the model by the environment variable ``EXAMPLE_MODEL``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

Call = tuple[str, dict[str, Any]]
Script = list[tuple[str, str | list[Call]]]
"""Patterns and replies, the most special pattern first. A reply is a text or a list of tool calls; ``{name}`` in it
stands for the pattern's group of that name."""


def arguments() -> argparse.Namespace:
    """Return the thread id and the model that the command line names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("thread", nargs="?", default=f"{Path(sys.argv[0]).stem}-1")
    parser.add_argument("--model", default=os.environ.get("EXAMPLE_MODEL"))
    return parser.parse_known_args()[0]


def chat_model(script: Script) -> BaseChatModel:
    """Return the model that the command line names, or else one that plays the script."""
    name = arguments().model
    return init_chat_model(name) if name else FakeModel(script=script)


def tell(what: str) -> None:
    """Print what is being done, at once and in one piece: tools run side by side, and their process may be killed."""
    sys.stdout.write(f"- {what}\n")
    sys.stdout.flush()


def call(tool: str, **args: Any) -> Call:
    """Return a tool call of a script, or a structured answer, which is a call of its schema."""
    return tool, args


class FakeModel(BaseChatModel):
    """A chat model that answers with the first reply of its script whose pattern is found in the conversation.

    It reads the system messages, and all messages from the latest one of a human on, as lines ``human: text``,
    ``ai: text`` and ``tool name: text``.

    If the environment variable ``FAKE_MODEL_SILENT_AT`` has a pattern that is found, the model never answers.
    """

    script: Script

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Return a model that may call the tools. The script says which it does."""
        return self.bind(tools=tools)

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        conversation = _as_text(messages)
        silent_at = os.environ.get("FAKE_MODEL_SILENT_AT")
        if silent_at and re.search(silent_at, conversation, re.DOTALL):
            tell("the model does not answer")
            threading.Event().wait()
        for pattern, reply in self.script:
            if found := re.search(pattern, conversation, re.DOTALL):
                message = _as_message(reply, found.groupdict(), len(messages))
                return ChatResult(generations=[ChatGeneration(message=message)])
        raise ValueError(f"The script of the fake model has no reply to:\n{conversation}")


def _as_text(messages: list[BaseMessage]) -> str:
    latest = max((at for at, message in enumerate(messages) if message.type == "human"), default=0)
    read = [message for at, message in enumerate(messages) if at >= latest or isinstance(message, SystemMessage)]
    return "\n".join(f"{_speaker(message)}: {message.text}" for message in read)


def _speaker(message: BaseMessage) -> str:
    return f"tool {message.name}" if isinstance(message, ToolMessage) else message.type


def _as_message(reply: str | list[Call], groups: dict[str, str], position: int) -> AIMessage:
    if isinstance(reply, str):
        return AIMessage(reply.format(**groups))
    calls = [
        {"name": tool, "args": _filled(args, groups), "id": f"call_{position}_{number}", "type": "tool_call"}
        for number, (tool, args) in enumerate(reply)
    ]
    return AIMessage("", tool_calls=calls)


def _filled(value: Any, groups: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**groups)
    if isinstance(value, dict):
        return {key: _filled(part, groups) for key, part in value.items()}
    return [_filled(part, groups) for part in value] if isinstance(value, list) else value
