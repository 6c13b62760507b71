"""Answers to queries that are too large for one payload, in pages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

PAGE_SIZE: Final = 1_000_000
"""Bytes of a query's answer beyond which it comes in pages: a result over 2 MiB would be refused."""


def in_pages(answer: Any, page: int) -> Any:
    """An answer to a query: as it is if it is small, otherwise one page of its text, to be put together by `Pages`."""
    text = to_json(answer)
    if len(text) <= PAGE_SIZE and not _is_page(answer):
        return answer
    count = -(-len(text) // PAGE_SIZE)
    piece = text[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
    return {
        "etag": hashlib.sha256(text).hexdigest()[:16],
        "pages": count,
        "piece": base64.b64encode(piece).decode(),
    }


class Pages:
    """Puts the pages of an answer together again. Feed it answers until `wanted` is `None`."""

    def __init__(self) -> None:
        self.wanted: int | None = 0
        self.answer: Any = None
        self._etag = ""
        self._pieces: list[bytes] = []

    def take(self, answer: Any) -> None:
        """Takes the answer to the page wanted. One that changed meanwhile is begun anew."""
        if not _is_page(answer):
            self.answer, self.wanted = answer, None
            return
        if answer["etag"] != self._etag:
            restart = bool(self._pieces)
            self._etag, self._pieces = answer["etag"], []
            if restart:
                self.wanted = 0
                return
        self._pieces.append(base64.b64decode(answer["piece"]))
        self.wanted = len(self._pieces)
        if self.wanted == answer["pages"]:
            self.answer, self.wanted = from_json(b"".join(self._pieces)), None


def _is_page(answer: Any) -> bool:
    return isinstance(answer, Mapping) and answer.keys() == {"etag", "pages", "piece"}
