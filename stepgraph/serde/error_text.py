"""How messages quote the types of values and the errors of other libraries."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, Final, get_origin

from pydantic import ValidationError

NAMED: Final = 10
"""How many names of a longer list a message has. A super-step may have thousands of nodes."""


QUOTED_CHARACTERS = 100
"""How much of a value's ``repr`` a message quotes."""


def type_name(value: Any) -> str:
    """Return the name of a value's type, with its module unless that is builtins: ``int``, ``datetime.date``."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def value_text(value: Any) -> str:
    """Return a value as a message quotes it: its ``repr``, shortened, or its type if it has none that can be shown."""
    try:
        text = repr(value)
    except Exception:  # for example an integer of thousands of digits, or a value that contains itself very deep
        return type_name(value)
    return text if len(text) <= QUOTED_CHARACTERS else f"{text[:QUOTED_CHARACTERS]}..."


def type_text(annotation: Any) -> str:
    """Return a type as it would be written in code: ``list[str]``, ``str | None``, ``Document``."""
    if get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__qualname__
    text = str(annotation)
    if "langchain_core.messages" in sys.modules:  # whose name for all messages is a union of a dozen classes
        text = text.replace(str(sys.modules["langchain_core.messages"].AnyMessage), "AnyMessage")
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text).replace("typing.", "")


def one_line(error: BaseException) -> str:
    """Return an error's whole message on one line. An error whose ``__str__`` fails has one that says so."""
    try:
        return " ".join(str(error).split())
    except Exception as str_error:
        return f"(its message is unknown: str() raised {type(str_error).__name__})"


def first_line(error: BaseException) -> str:
    """Return an error's message on one line, without a full stop.

    Of a pydantic `ValidationError`, the first three problems: each with its place, without input or link. Of a
    serializer's warning, the type that it expected and the one that it got.
    """
    if isinstance(error, ValidationError):
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"]
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        return "; ".join(problems[:3]) + more
    try:
        text = str(error)
    except Exception as str_error:  # the exception's own __str__ fails
        return f"(its message is unknown: str() raised {type(str_error).__name__})"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0] == "Pydantic serializer warnings:" and len(lines) > 1:
        return _expected_and_actual_type(lines[1])
    return lines[0].rstrip(".:")


def _expected_and_actual_type(warning: str) -> str:
    """Return the types in a warning of pydantic's serializer: ``expected int, got str in field 'count'``."""
    expected = re.search(r"Expected `(.+?)`", warning)
    field = re.search(r"field_name='(.+?)'", warning)
    actual = re.search(r"(?:input_type=|but got `)([\w.]+)", warning)
    if expected is None:
        return warning
    return (
        f"expected {expected[1]}"
        + (f", got {actual[1]}" if actual else "")
        + (f" in field {field[1]!r}" if field else "")
    )


def names_in(names: Sequence[str]) -> str:
    """Return names as a list in a message: ``'a', 'b' and 2,998 more``."""
    text = ", ".join(map(repr, names[:NAMED]))
    return f"{text} and {len(names) - NAMED:,} more" if len(names) > NAMED else text
