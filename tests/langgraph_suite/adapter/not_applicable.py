"""Ends a test that asks for what stepgraph does not have yet, or what no graph's user sees."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

PREFIX = "not applicable: "


def not_applicable(reason: str) -> NoReturn:
    """End the running test. The report counts it by the reason."""
    pytest.skip(PREFIX + reason)


def unavailable(name: str, reason: str) -> type:
    """Return a class to stand for a name of LangGraph's: whoever calls it ends the test."""

    def refuse(cls: type, *arguments: Any, **keywords: Any) -> NoReturn:
        not_applicable(reason)

    return type(name, (), {"__new__": refuse})
