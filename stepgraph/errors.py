"""Every error stepgraph raises, as one tree.

::

    StepgraphError
    ├── GraphDefinitionError (ValueError)     your graph is wrong              at compile()
    ├── InvalidUpdateError (ValueError)       your values are wrong            at the call, or at the node
    │   ├── InvalidInputError                 the input does not fit the state
    │   ├── SerializationError                a value cannot make the round trip
    │   └── PayloadTooLargeError              a value is larger than Temporal carries
    ├── NodeError                             a node failed for good           at run time
    │   └── MissingNodeError                  no worker has the node's code
    ├── ReducerError                          a reducer raised                 at commit
    ├── GraphRecursionError (RecursionError)  the super-steps allowed are used up
    ├── ThreadError                           the thread cannot do that        at the call
    │   ├── InvalidThreadError (ValueError)   no thread id, or an unusable one
    │   ├── EmptyInputError                   nothing to resume, and no input
    │   ├── ThreadBusyError                   the thread runs already
    │   ├── GraphMismatchError                the thread belongs to another graph
    │   ├── RunEndedError                     the run was cancelled, terminated or timed out
    │   ├── CheckpointNotFoundError (LookupError)
    │   └── CheckpointExpiredError            retention has removed it
    ├── UnknownGraphError (LookupError)       nobody serves, or names, such a graph
    ├── StorageError                          external storage is missing, in trouble, or lacks a payload
    └── ServerError                           Temporal is out of reach
        ├── NoServerError
        └── NoWorkerError                     no worker polls the task queue

A message names the culprit, the rule and the mend; the parts of it are attributes. An error that crosses a process
travels as ``{"type", "message", "parts"}`` and is raised again as its own class (`from_wire`).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json, to_json


class StepgraphError(Exception):
    """The root: catches whatever stepgraph itself raises."""

    def __init__(self, message: str = "", **parts: Any) -> None:
        Exception.__init__(self, message)  # not super(): a node's own exception type may stand next in line
        self.message = message
        self.parts = parts

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__.get("parts", {})
        if name in parts:
            return parts[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    def to_wire(self) -> dict[str, Any]:
        """This error as plain JSON data; a part that is none goes as its ``repr``."""
        ours = next(cls.__name__ for cls in type(self).__mro__ if _TREE.get(cls.__name__) is cls)
        return {"type": ours, "message": sendable(self.message), "parts": _plain(self.parts)}


class GraphDefinitionError(StepgraphError, ValueError):
    """The graph cannot work as it is drawn."""


class InvalidUpdateError(StepgraphError, ValueError):
    """Values that a channel cannot take. Parts: ``channel``, ``nodes``, ``step`` where known."""


class InvalidInputError(InvalidUpdateError):
    """The input does not fit the graph's state. Parts: ``graph``, ``key``."""


class SerializationError(InvalidUpdateError):
    """A value would come back as something else. Parts: ``channel``, ``value_type``."""


class PayloadTooLargeError(InvalidUpdateError):
    """A value, or the whole state, exceeds what Temporal carries. Parts: ``channel``, ``size``, ``limit`` in bytes."""


class NodeError(StepgraphError):
    """A node failed for good; its finished siblings are kept, and ``invoke(None, config)`` resumes.

    Raised as a class that is also the node's own exception type where that type is already imported,
    so ``except ConnectionError`` works. Parts: ``graph``, ``node``, ``step``, ``thread_id``, ``checkpoint_id``,
    ``attempts``, ``error_type``, ``error_message``, ``traceback`` (the node's, as text).
    """


class MissingNodeError(NodeError):
    """The worker's code lacks the node. Parts: ``graph``, ``node``, ``run_spec``, ``worker_spec`` (hashes)."""


class ReducerError(StepgraphError):
    """A reducer raised, or made a value its channel cannot hold. Parts: ``channel``, ``node``, ``step``."""


class GraphRecursionError(StepgraphError, RecursionError):
    """One invoke used up its super-steps. Parts: ``limit``, ``step``."""


class ThreadError(StepgraphError):
    """The thread cannot do what was asked of it. Part: ``thread_id``."""


class InvalidThreadError(ThreadError, ValueError):
    """The config carries no usable thread id."""


class EmptyInputError(ThreadError):
    """``invoke(None, ...)`` on a thread that has nothing to go on from."""


class ThreadBusyError(ThreadError):
    """The thread has one writer, and it is at work. Part: ``run_id``."""


class GraphMismatchError(ThreadError):
    """The thread belongs to another graph. Parts: ``graph``, ``thread_graph``."""


class RunEndedError(ThreadError):
    """The run ended from outside: cancelled, terminated or timed out. Parts: ``run_id``, ``status``."""


class CheckpointNotFoundError(ThreadError, LookupError):
    """No such checkpoint on the thread. Part: ``checkpoint_id``."""


class CheckpointExpiredError(ThreadError):
    """The namespace's retention has removed the run that held the checkpoint. Part: ``run_id``."""


class UnknownGraphError(StepgraphError, LookupError):
    """No graph of that name is served, or can be loaded. Part: ``graph``."""


class StorageError(StepgraphError):
    """Large payloads are out of reach: see `stepgraph.temporal.storage`. Parts: ``storage`` (its address), ``key``."""


class ServerError(StepgraphError):
    """Temporal, or a worker, is out of reach."""


class NoServerError(ServerError):
    """No Temporal server answers, and none can be started. Part: ``address``."""


class NoWorkerError(ServerError):
    """No worker polls the task queue that the work is waiting on. Part: ``task_queue``."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` where something similar is known, otherwise the list of what is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(map(repr, names))}." if names else ""


def sendable(text: str) -> str:
    """Text that JSON can carry: a file's name, say, may have characters that it cannot."""
    return text.encode(errors="backslashreplace").decode()


def _plain(parts: dict[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = from_json(to_json(parts, inf_nan_mode="strings", fallback=repr))
    except Exception:  # not even as text: characters that JSON cannot carry, a part that contains itself
        return {name: sendable(repr(part)) for name, part in parts.items()}
    return plain


def from_wire(data: dict[str, Any]) -> StepgraphError:
    """The error that `StepgraphError.to_wire` described; a `NodeError` gets its node's exception type back."""
    cls = _TREE.get(data.get("type", ""), StepgraphError)
    message, parts = data.get("message", ""), data.get("parts") or {}
    if cls is NodeError and (error := _also_the_nodes_own(message, parts)) is not None:
        return error
    return cls(message, **parts)


def _also_the_nodes_own(message: str, parts: dict[str, Any]) -> NodeError | None:
    """A `NodeError` that is also of the node's own type, if that is loaded here; importing it could run anything."""
    module, _, qualname = str(parts.get("error_type", "")).partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)  # a module's own getattr might import
    if not isinstance(found, type) or not issubclass(found, Exception) or found is NodeError:
        return None
    # As members of the class, ours come before what the node's type may have under the same names.
    ours = {**parts, "message": message, "parts": parts, "__setattr__": Exception.__setattr__}
    try:
        bases = (found,) if issubclass(found, NodeError) else (NodeError, found)
        both: Any = type(found.__name__, bases, {**ours, "__module__": found.__module__, "__doc__": NodeError.__doc__})
        error: NodeError = both.__new__(both)
        StepgraphError.__init__(error, message, **parts)  # not the type's own: who knows what that wants
    except Exception:  # a final class, or one that cannot be shared or made like this
        return None
    return error


def _classes(root: type[StepgraphError]) -> dict[str, type[StepgraphError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_classes(child))
    return found


_TREE = _classes(StepgraphError)
"""By name, as drawn above: before anybody, `from_wire` included, has derived more."""
