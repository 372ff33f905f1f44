"""A run in a child that is killed with SIGKILL at random moments, again and again; prints what it saw as JSON.

Forked from one process, which has imported the libraries but run nothing (threads do not outlive a fork):
`python killed.py FOLDER TASK MODEL KILLS`.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from heed.evaluation.runs import Reader, load_task, start
from heed.model import load
from heed.upstream import Answer


class Logging:
    """Answers, and notes in a file what it was asked."""

    name = "logging"

    def __init__(self, asked: Path) -> None:
        self.asked = asked

    def answer(self, messages: Any, **settings: Any) -> Answer:
        """Take a little while, as a model does."""
        del settings
        number = messages.split()[2]
        with self.asked.open("a") as file:
            file.write(number + "\n")
        time.sleep(0.003)
        return Answer(f"Answer: {number}", self.name, 0.003)


def run(folder: Path, task: Path, model: str) -> None:
    """What a child does: the whole run, or what is left of it."""
    reader = Reader(load(model, dtype="float32"), "all_layers")
    start(load_task(task), Logging(folder / "asked"), folder / "out", reader=reader)


def fork(folder: Path, task: Path, model: str) -> int:
    """A child that runs; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(folder, task, model)
            code = 0
        finally:
            os._exit(code)
    return child


def main() -> None:
    """Kill, look, go on; at the end let it finish."""
    folder, task, model, kills = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    asked, draw = folder / "asked", random.Random(7)
    asked.touch()
    seen: list[dict[str, int]] = []
    while len(seen) < kills:
        before = len(asked.read_bytes().split())
        wanted, child, began = before + draw.randint(1, 3), fork(folder, task, model), 0.0
        while (now := len(asked.read_bytes().split())) < wanted:
            began = began or (time.monotonic() if now > before else 0.0)
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child ended of itself"
            time.sleep(0.0005)
        time.sleep(draw.random() * max(0.02, time.monotonic() - (began or time.monotonic())))
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)[1]
        content = b"".join(path.read_bytes() for path in folder.glob("out/*/*/*.samples.jsonl"))
        told = len(asked.read_bytes().split()) - before
        seen.append({"killed": os.WIFSIGNALED(ended), "asked": told, "whole": content.count(b"\n")})
    assert os.waitpid(fork(folder, task, model), 0)[1] == 0
    sys.stdout.write(json.dumps({"seen": seen, "asked": asked.read_text().split()}))


if __name__ == "__main__":
    main()
