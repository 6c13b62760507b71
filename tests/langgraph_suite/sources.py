"""Fetches the tests of LangGraph's packages from the registry, and changes their imports.

The packages' archives of the installed versions are kept in ``.cache/``, which git ignores.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
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
    if not (folder / "pytest.ini").exists():
        with tarfile.open(_archive(package, name)) as archive:
            tests = [member for member in archive if member.name.startswith(f"{name}/tests/")]
            archive.extractall(CACHE, tests, filter="data")
        for file in (folder / "tests").glob("test_*.py"):
            file.write_text(_IMPORT.sub(r"\1changed_imports.\2", file.read_text()))
        (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def _archive(package: str, name: str) -> Path:
    path = CACHE / f"{name}.tar.gz"
    if not path.exists():
        options = ["--no-binary", ":all:", "--no-deps", "--no-build-isolation", "--quiet", "--dest", str(CACHE)]
        command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version(package)}"]
        pip = subprocess.run(command, capture_output=True, text=True)
        if pip.returncode or not path.exists():
            raise FetchError(f"pip cannot fetch {path.name}, which has LangGraph's tests:\n{pip.stderr}")
    return path
