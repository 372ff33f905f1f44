"""Answerers that say what a test tells them to, and the tiny model to read with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heed.evaluation.runs import Reader, load_task, start
from heed.model import Model, load
from heed.upstream import Answer
from tiny import tiny_folder


class Scripted:
    """Answers by a function of the prompt; remembers what it was asked, and with which seeds."""

    def __init__(self, say: Callable[[str], str | Answer], name: str = "scripted") -> None:
        self.say, self.name = say, name
        self.asked: list[str] = []
        self.seeds: list[int | None] = []

    def answer(self, messages: Any, *, max_new_tokens: int = 512, temperature: float = 0.0, seed: int | None = None):
        self.asked.append(messages)
        self.seeds.append(seed)
        said = self.say(messages)
        return said if isinstance(said, Answer) else Answer(said, self.name, 0.0)


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Model:
    return load(tiny_folder(tmp_path_factory.mktemp("models") / "tiny"), dtype="float32")


@pytest.fixture
def reader(tiny_model) -> Reader:
    return Reader(tiny_model, "all_layers")


@pytest.fixture
def write_task(tmp_path) -> Callable[..., Path]:
    """A task file of n examples, or of the examples given; ``head`` stands beside them."""

    def write(examples: int | list[Any] = 12, *, name: str = "sums", **head: Any) -> Path:
        if isinstance(examples, int):
            examples = [
                {"input": f"Ann has {n} pears. Bob has two. It rains.\n\nHow many pears has Ann?", "target": str(n)}
                for n in range(examples)
            ]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**head, "examples": examples}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def go(write_task, tmp_path) -> Callable[..., Any]:
    """Start a run of the task of sums; ``task`` is a file or a number of examples."""

    def run(upstream: Scripted, task: Path | int = 12, **options: Any):
        path = task if isinstance(task, Path) else write_task(task)
        return start(load_task(path), upstream, tmp_path / "out", **options)

    return run


@pytest.fixture
def lines_of() -> Callable[[Path], list[Any]]:
    return lambda path: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
