"""The context of an invoke: what ``invoke(context=...)`` hands to every node, beside the state.

Owns its way between processes: JSON data of the class that ``context_schema`` declares. Nodes get it as
``runtime.context``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import SchemaError
from typing_extensions import is_typeddict

from stepgraph.errors import GraphDefinitionError, InvalidInputError, StepgraphError, suggest
from stepgraph.serde.error_text import first_line, type_name, type_text
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_values import TaggedCodec
from stepgraph.serde.type_codec import TypeCodec


class ContextSchema:
    """The class of a graph's context.

    Args:
        declared: a dataclass, a pydantic model or a `TypedDict`; `None` for a graph that declares none. It then takes
            JSON data, and the values that a state of type ``Any`` takes.

    Raises:
        GraphDefinitionError: it is another object, or values of it cannot become JSON data.
    """

    def __init__(self, declared: Any = None) -> None:
        self.declared = declared
        self._codec: TypeCodec | TaggedCodec
        if declared is None:
            self._codec = TaggedCodec()
            return
        is_class = is_typeddict(declared) or (
            isinstance(declared, type) and (dataclasses.is_dataclass(declared) or issubclass(declared, BaseModel))
        )
        if not is_class:
            raise GraphDefinitionError(
                f"context_schema must be a dataclass, a pydantic model or a TypedDict; got {declared!r}."
            )
        try:
            self._codec = TypeCodec(declared)
        except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, RoundTripError) as error:
            raise GraphDefinitionError(
                f"The context {type_text(declared)} cannot travel between processes: {first_line(error)}. Nodes run in "
                "worker processes: declare plain data, and open connections and clients in the nodes."
            ) from error

    def encode(self, graph: str, context: Any) -> Any:
        """Return a caller's context as JSON data; `None` stays `None`.

        Raises:
            InvalidInputError: it does not fit the declared class, or would not come back unchanged.
        """
        if context is None:
            return None
        self._check_keys(graph, context)
        try:
            given = dict(context) if isinstance(context, Mapping) else context
            return self._codec.encode(self._codec.coerce(given))
        except Exception as error:  # pydantic's, or whatever a validator of the graph's author raises
            raise InvalidInputError(
                f"The context of graph {graph!r} {self._rule}; got {type_name(context)}: {first_line(error)}.",
                graph=graph,
            ) from error

    def _check_keys(self, graph: str, context: Any) -> None:
        """Refuse a key that the class does not declare: pydantic would leave it out, and a default take its place."""
        declared = self.declared
        if not isinstance(context, Mapping) or not (is_typeddict(declared) or dataclasses.is_dataclass(declared)):
            return
        known = list(get_type_hints(declared))
        for key in context:
            if key not in known:
                raise InvalidInputError(
                    f"The context of graph {graph!r} has a key {key!r} that its context_schema "
                    f"{type_text(declared)} does not declare.{suggest(str(key), known)}",
                    graph=graph,
                    key=key,
                )

    def decode(self, graph: str, encoded: Any) -> Any:
        """Return the context from JSON data; `None` stays `None`.

        Raises:
            InvalidInputError: it does not fit the class that this code declares.
        """
        if encoded is None:
            return None
        try:
            return self._codec.decode(encoded)
        except StepgraphError:
            raise
        except Exception as error:
            raise InvalidInputError(
                f"The context of graph {graph!r} {self._rule}: {first_line(error)}.", graph=graph
            ) from error

    @property
    def _rule(self) -> str:
        if self.declared is None:
            return "must be JSON data, because nodes run in other processes"
        return f"must fit its context_schema {type_text(self.declared)}"
