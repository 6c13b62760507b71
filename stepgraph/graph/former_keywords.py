"""Keywords that LangGraph has renamed, and still takes under their former names."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def former_keywords(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a method take keywords under their former names, too: ``former_keywords(retry="retry_policy")``.

    A call with one of them gives a `DeprecationWarning`; with both names it is a `TypeError`, as a repeated keyword is.
    """

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def renaming(*arguments: P.args, **keywords: P.kwargs) -> T:
            for former in names.keys() & keywords.keys():
                name = names[former]
                if name in keywords:
                    raise TypeError(f"{method.__qualname__}() takes {name!r}, or its former name {former!r}, not both.")
                warnings.warn(f"{former!r} is now {name!r}.", DeprecationWarning, stacklevel=2)
                keywords[name] = keywords.pop(former)
            return method(*arguments, **keywords)

        return renaming

    return decorate
