"""What the signature of a reducer says: whether it takes two arguments, and which updates it accepts."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, get_type_hints

from stepgraph.errors import GraphDefinitionError
from stepgraph.serde.error_text import first_line


def check_signature(key: str, reducer: Callable[..., Any]) -> None:
    """Check that the reducer of a state key is not async and takes two arguments.

    Raises:
        GraphDefinitionError: it is async, or takes another number of arguments.
    """
    if inspect.iscoroutinefunction(reducer):
        raise GraphDefinitionError(
            f"The reducer of state key {key!r} is async. Reducers run where nothing can be awaited: make it a plain "
            "function, and await in the node that writes.",
            key=key,
        )
    try:
        inspect.signature(reducer).bind(None, None)
    except ValueError:  # some builtins have no signature that Python can read
        return
    except TypeError as error:
        raise GraphDefinitionError(
            f"The reducer of state key {key!r} must take two arguments, (current, update): {first_line(error)}.",
            key=key,
        ) from error


def update_annotation(reducer: Callable[..., Any]) -> Any:
    """Return the annotation of a reducer's second parameter, the update.

    `None` if it has none, or one that says nothing of the type: `Any` or a type variable.
    """
    try:
        parameters = list(inspect.signature(reducer).parameters)
        hints = get_type_hints(reducer, include_extras=True)
    except Exception:  # there is no signature, or an annotation's names cannot be resolved
        return None
    hint = hints.get(parameters[1]) if len(parameters) > 1 else None
    return None if hint is None or isinstance(hint, typing.TypeVar) or hint is Any else hint
