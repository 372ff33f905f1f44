"""For the whole repository: the examples of README and docs are tests, and what needs the embedded model is skipped
where it is not pulled."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser


def _in_a_folder_of_its_own(namespace: dict[str, Any]) -> None:
    """What the examples of a page write goes away with it."""
    namespace["_before"], namespace["_folder"] = Path.cwd(), tempfile.TemporaryDirectory()
    os.chdir(namespace["_folder"].name)


def _back(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    setup=_in_a_folder_of_its_own,
    teardown=_back,
).pytest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.suffix == ".md":
            item.add_marker("embedded")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("embedded") is None:
        return
    from heed.model.embedded import embedded_path

    if embedded_path() is None:
        pytest.skip("the embedded model is not pulled (`heed models pull`)")
