"""Fetches the tests of LangGraph's packages from the registry, and changes their imports.

Those of the installed versions are kept in ``.cache/``, which git ignores.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

CACHE = Path(__file__).parent.parent.parent / ".cache" / "langgraph_suite"

_IMPORT = re.compile(r"^(\s*from )(langgraph\.)", re.MULTILINE)


class FetchError(Exception):
    """The registry does not give the archive."""


def suite_of(package: str) -> Path:
    """Return the folder that holds the package's tests, with the imports changed; fetch them if they are not there."""
    name = f"{package.replace('-', '_')}-{version(package)}"
    folder = CACHE / name
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        with tarfile.open(_fetch(package, Path(scratch))) as archive:
            tests = [member for member in archive if member.name.startswith(f"{name}/tests/")]
            archive.extractall(scratch, tests, filter="data")
        unpacked = Path(scratch) / name
        for file in (unpacked / "tests").glob("test_*.py"):
            file.write_text(_IMPORT.sub(r"\1changed_imports.\2", file.read_text()))
        (unpacked / "pytest.ini").write_text("[pytest]\n")
        with suppress(OSError):  # another process has made it meanwhile
            unpacked.rename(folder)
    return folder


def _fetch(package: str, folder: Path) -> Path:
    """Download the package's source archive, and return its path."""
    requirement = f"{package}=={version(package)}"
    options = ["--no-binary", ":all:", "--no-deps", "--no-build-isolation", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    pip = subprocess.run(command, capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if pip.returncode or not archives:
        raise FetchError(f"pip cannot fetch the source of {requirement}, which has LangGraph's tests:\n{pip.stderr}")
    return archives[0]
