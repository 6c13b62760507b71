"""The names of types and the text of errors, as messages quote them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError


def type_name(value: Any) -> str:
    """The name of a value's type, with its module unless that is builtins."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def first_line(error: BaseException) -> str:
    """What an error says, on one line and without a full stop: pydantic's places and reasons, without its links."""
    if isinstance(error, ValidationError):
        found = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"]
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        return "; ".join(found[:3]) + more
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0] == "Pydantic serializer warnings:" and len(lines) > 1:
        return _unexpected(lines[1])
    return lines[0].rstrip(".:")


def _unexpected(warning: str) -> str:
    """What a serializer's warning says: which type it expected where."""
    expected = re.search(r"Expected `(.+?)`", warning)
    place = re.search(r"field_name='(.+?)'", warning)
    got = re.search(r"(?:input_type=|but got `)([\w.]+)", warning)
    if expected is None:
        return warning
    return f"expected {expected[1]}" + (f", got {got[1]}" if got else "") + (f" in field {place[1]!r}" if place else "")
