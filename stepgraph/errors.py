"""The errors that stepgraph raises, as one class tree.

::

    StepgraphError
    ├── GraphDefinitionError (ValueError)     the graph cannot work            at compile()
    ├── InvalidUpdateError (ValueError)       a channel cannot take a value    at the call, or at the node
    │   ├── InvalidInputError                 the input does not fit the state
    │   ├── SerializationError                a value would change when it is stored
    │   ├── ChannelTypeError                  a recorded value does not fit the type of this code
    │   └── PayloadTooLargeError              a value is larger than Temporal carries
    ├── OutsideNodeError (RuntimeError)       a function for nodes was called outside one
    ├── NodeTimeoutError                      an attempt exceeded its TimeoutPolicy
    ├── NodeError                             a node failed and is not retried at run time
    │   └── MissingNodeError                  no worker has the node's code
    ├── ReducerError                          a reducer raised                 at commit
    ├── GraphRecursionError (RecursionError)  the recursion limit is reached   at run time
    ├── ThreadError                           the thread refuses a request     at the call
    │   ├── InvalidThreadError (ValueError)   the config has no usable thread id
    │   ├── EmptyInputError                   no input, and nothing to resume
    │   ├── ThreadBusyError                   the thread is running
    │   ├── GraphMismatchError                the thread belongs to another graph
    │   ├── RunEndedError                     the run was cancelled, terminated or timed out
    │   ├── CheckpointNotFoundError (LookupError)
    │   └── CheckpointExpiredError            retention has removed it
    ├── UnknownGraphError (LookupError)       no worker serves the graph, or no module defines it
    ├── StorageError                          external storage is missing, fails, or lacks a payload
    ├── UnknownFormatError                    another version of stepgraph wrote the data
    ├── UnsupportedError (NotImplementedError)  LangGraph has it, and stepgraph has not
    └── ServerError                           Temporal does not answer
        └── NoServerError                     no server can be reached or started

    UserWarning
    └── GraphWarning                          a part of the graph looks like a mistake, at compile()

A message names the culprit, the rule and the fix. The data in it are the error's parts, which are attributes, too. An
error crosses a process boundary as JSON data, ``{"type", "message", "parts"}`` (`StepgraphError.to_wire`), and is
raised on the other side as the same class (`from_wire`).

Owns the classes and their JSON form. Refuses to know who raises them: this module imports nothing of stepgraph.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json


class StepgraphError(Exception):
    """The base class of every error that stepgraph raises.

    Args:
        message: names the culprit, the rule and the fix.
        parts: the data in the message, which callers read as attributes: ``error.thread_id``.
    """

    def __init__(self, message: str = "", **parts: Any) -> None:
        # Not super(): in a class that `_as_node_exception` makes, the next class may be the node's own exception type.
        Exception.__init__(self, message)
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
        """Return the error as JSON data, for `from_wire`. A part that is not JSON data becomes its ``repr``.

        The type is a class of this module, even if the error is also of a node's own exception type.
        """
        class_name = next(cls.__name__ for cls in type(self).__mro__ if _CLASSES.get(cls.__name__) is cls)
        return {"type": class_name, "message": sendable(self.message), "parts": _json_parts(self.parts)}


class GraphDefinitionError(StepgraphError, ValueError):
    """The graph cannot work with the nodes and edges that it has. Parts: ``graph`` or ``node``."""


class GraphWarning(UserWarning):
    """The graph works, but a part of it looks like a mistake: a node that nothing leads to, for example.

    Tests that should fail at it: ``warnings.filterwarnings("error", category=GraphWarning)``.
    """


class InvalidUpdateError(StepgraphError, ValueError):
    """Values cannot be written: a channel cannot take them, or the author of an update is unknown.

    Parts, as far as they are known: ``channel``, ``nodes``, ``step``.
    """


class InvalidInputError(InvalidUpdateError):
    """The input does not fit the graph's state. Parts: ``graph``, ``key``."""


class SerializationError(InvalidUpdateError):
    """A value would not be the same after it was stored as JSON. Parts: ``channel``, ``value_type``."""


class ChannelTypeError(InvalidUpdateError):
    """A recorded value does not come back unchanged under the type that the code at hand declares for its channel.

    Parts: ``channel``, ``declared``, the type of the code at hand; and ``recorded``, the type that the value was
    recorded under, where it is known.
    """


class PayloadTooLargeError(InvalidUpdateError):
    """A value, or the whole state, exceeds what Temporal carries. Parts: ``channel``, ``size``, ``limit`` in bytes."""


class UnknownFormatError(StepgraphError):
    """Another version of stepgraph wrote the data. Parts: ``format``, its name, and ``version``."""


class OutsideNodeError(StepgraphError, RuntimeError):
    """A function that only works in a node, such as `get_config`, was called elsewhere."""


class UnsupportedError(StepgraphError, NotImplementedError):
    """A call asks for what LangGraph has and stepgraph has not. Parts: ``feature``."""


class NodeTimeoutError(StepgraphError):
    """An attempt at a node took longer than the node's `TimeoutPolicy` allows. A retry policy retries it by default.

    It is no `TimeoutError`, as in LangGraph. Parts: ``node``, ``kind`` (``"run"`` or ``"idle"``), ``timeout``,
    ``run_timeout``, ``idle_timeout``, ``elapsed``, in seconds.
    """


class NodeError(StepgraphError):
    """A node failed and is not retried. The results of finished tasks are kept; ``invoke(None, config)`` resumes.

    If the exception type of the node is imported in this process, the error is also of that type, so
    ``except ConnectionError`` works. It has the type alone: the exception's attributes, arguments and cause stay in the
    process where the node ran. Parts: ``graph``, ``node``, ``step``, ``thread_id``, ``checkpoint_id``,
    ``attempts``, ``error_type``, ``error_message``, ``traceback`` (the node's, as text).
    """


class MissingNodeError(NodeError):
    """The worker's code lacks the node. Parts: ``graph``, ``node``, the hashes ``run_spec`` and ``worker_spec``."""


class ReducerError(StepgraphError):
    """A reducer raised, or returned a value that its channel cannot hold.

    Parts: ``channel``, ``node``, ``step``; and ``missing``, if the worker's code has no such reducer.
    """


class GraphRecursionError(StepgraphError, RecursionError):
    """An invocation ran as many super-steps as its recursion limit allows. Parts: ``limit``, ``step``."""


class ThreadError(StepgraphError):
    """The thread refuses a request. Part: ``thread_id``, which the subclasses have, too."""


class InvalidThreadError(ThreadError, ValueError):
    """The config has no usable thread id, or another value that cannot be used."""


class EmptyInputError(ThreadError):
    """There is no input, and nothing to resume, answer or fork: the thread does not exist, or has no checkpoint."""


class ThreadBusyError(ThreadError):
    """The thread is running, and a thread has one writer. Part: ``run_id``."""


class GraphMismatchError(ThreadError):
    """The thread belongs to another graph. Parts: ``graph``, ``thread_graph``."""


class RunEndedError(ThreadError):
    """The run was ended from outside: it was cancelled, terminated or timed out. Parts: ``run_id``, ``status``."""


class CheckpointNotFoundError(ThreadError, LookupError):
    """The thread has no such checkpoint. Part: ``checkpoint_id``."""


class CheckpointExpiredError(ThreadError):
    """The namespace's retention has removed the run that made the checkpoint. Part: ``run_id``."""


class UnknownGraphError(StepgraphError, LookupError):
    """No worker serves a graph of that name, or no module defines it. Part: ``graph``."""


class StorageError(StepgraphError):
    """Large payloads cannot be stored or read (`stepgraph.temporal.storage`). Parts: ``storage`` (address), ``key``."""


class ServerError(StepgraphError):
    """The server, or a worker, does not answer or refuses a request. Part: ``address``, where it is known."""


class NoServerError(ServerError):
    """No Temporal server can be reached or started. Part: ``address``."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name, with a leading space.

    Returns:
        ``" Did you mean 'x'?"`` if a known name is similar; otherwise a list of the known names, if there are any.
    """
    names = sorted(known)
    similar = difflib.get_close_matches(name, names, n=1)
    if similar:
        return f" Did you mean {similar[0]!r}?"
    return f" Known: {', '.join(map(repr, names))}." if names else ""


PARTS_DEPTH = 100
"""How deep an error's parts may be nested. JSON parsers give up at about 200."""


def sendable(text: str) -> str:
    """Return a text that UTF-8 can encode: lone surrogates, as file names may have them, become escapes."""
    return text.encode(errors="backslashreplace").decode()


def _json_parts(parts: dict[str, Any]) -> dict[str, Any]:
    """Return an error's parts as JSON data; what JSON cannot represent becomes its ``repr``."""
    try:
        data: dict[str, Any] = from_json(to_json(parts, inf_nan_mode="strings", fallback=repr))
        if _depth(data) > PARTS_DEPTH:
            raise ValueError("it would be nested too deep in a record")
    except Exception:  # a text that UTF-8 cannot encode, or a part that contains itself
        return {name: sendable(repr(part)) for name, part in parts.items()}
    return data


def _depth(data: Any) -> int:
    """Return how deep lists and mappings are nested in JSON data."""
    parts = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def from_wire(data: Any, *, as_own_type: bool = True) -> StepgraphError:
    """Return the error that `StepgraphError.to_wire` described, as the same class.

    A `NodeError` is also of the node's own exception type, if that is imported in this process. An unknown type, as a
    newer stepgraph may send it, becomes a `StepgraphError`.

    Args:
        data: the error as JSON data.
        as_own_type: whether to look for the node's exception type. Not in a workflow: that is code of the graph.
    """
    if not isinstance(data, Mapping):  # nothing of stepgraph's sent it
        return StepgraphError(f"An error without a message was received: {sendable(repr(data))}.")
    cls = _CLASSES.get(str(data.get("type", "")), StepgraphError)
    message, given = str(data.get("message", "")), data.get("parts")
    # A part with the name of one of the error's own attributes would hide it.
    parts = {key: part for key, part in given.items() if _can_be_part(key)} if isinstance(given, Mapping) else {}
    if cls is NodeError and as_own_type and (error := _as_node_exception(message, parts)) is not None:
        return error
    received = cls(message)
    received.parts = parts
    return received


def _can_be_part(name: Any) -> bool:
    return isinstance(name, str) and not name.startswith("__") and not hasattr(StepgraphError(), name)


def _as_node_exception(message: str, parts: dict[str, Any]) -> NodeError | None:
    """Return a `NodeError` whose class is derived from the node's own exception type, too.

    The part ``error_type`` names the type as ``module:qualname``. Only imported modules are searched, because importing
    another would run its code.

    Returns:
        `None` if the type is not imported, or if no class can be derived from it.
    """
    module, _, qualname = str(parts.get("error_type", "")).partition(":")
    own_type: Any = sys.modules.get(module)
    for name in qualname.split("."):
        own_type = getattr(own_type, "__dict__", {}).get(name)  # not getattr: a module's __getattr__ might import
    if not isinstance(own_type, type) or not issubclass(own_type, Exception) or own_type is NodeError:
        return None
    # As members of the class, message and parts take precedence over members of the node's type with the same names.
    members = {
        **parts,
        "message": message,
        "parts": parts,
        "__setattr__": Exception.__setattr__,
        "__module__": own_type.__module__,
        "__doc__": NodeError.__doc__,
    }
    try:
        bases = (own_type,) if issubclass(own_type, NodeError) else (NodeError, own_type)
        derived: Any = type(own_type.__name__, bases, members)
        error: NodeError = derived.__new__(derived)
        StepgraphError.__init__(error, message, **parts)  # the own type's __init__ may take other arguments
    except Exception:  # a type that forbids subclasses, or whose layout conflicts with NodeError's
        return None
    return error


def _subclasses(root: type[StepgraphError]) -> dict[str, type[StepgraphError]]:
    """Return a class and all classes derived from it, by name."""
    classes = {root.__name__: root}
    for child in root.__subclasses__():
        classes.update(_subclasses(child))
    return classes


_CLASSES = _subclasses(StepgraphError)
"""The classes of this module by name. Collected once, when the module is loaded: `from_wire` derives further ones."""
