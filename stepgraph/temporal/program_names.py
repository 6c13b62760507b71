"""The names of stepgraph's programs for the reader of a message: those that this installation has.

A checkout has the scripts ``starter.py`` and ``worker.py``. A package brings ``stepgraph`` and ``stepgraph-worker``.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_CHECKOUT = _PACKAGE.parent


def operator_command() -> str:
    """Return how the reader starts the operator's command line, for example ``stepgraph``."""
    started = _started_script()
    if started == _PACKAGE / "__main__.py":
        return "python -m stepgraph"
    return "starter.py" if _is_checkout_script(started) else "stepgraph"


def worker_command() -> str:
    """Return how the reader starts a worker, for example ``stepgraph-worker``."""
    return "worker.py" if _is_checkout_script(_started_script()) else "stepgraph-worker"


def _is_checkout_script(path: Path | None) -> bool:
    """Return whether a path is a script of the checkout. A user's own script may have the same name."""
    return path in (_CHECKOUT / "starter.py", _CHECKOUT / "worker.py")


def _started_script() -> Path | None:
    """Return the path of the script that this process runs; None if it runs none, or its folder is gone."""
    try:
        return Path(sys.argv[0]).resolve()
    except (IndexError, OSError):
        return None
