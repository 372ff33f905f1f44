"""Long documents of several benign texts, with and without one attack buried in them: what dilution looks like."""

import json
from pathlib import Path
from random import Random

from heed.guard.data import LabelledPair
from heed.text.span import CharSpan
from heed.text.split import sentences

_TEXTS = Path(__file__).parents[1] / "scripts" / "texts"
LENGTHS = (16_000, 32_000)
"""Characters: about 4,000 and 8,000 tokens."""


def documents(count: int, *, seed: int = 0) -> list[LabelledPair]:
    """``count`` benign documents and their twins with an attack at a random sentence; own texts, own instructions."""
    rng = Random(seed)
    benign = [*_lines("documents"), *_lines("mail"), *_lines("tools")]
    attacks = [row for row in _lines("attacks") if row["language"] == "en" and len(row["text"]) >= 40]
    found = []
    for place in range(count):
        texts = rng.sample(benign, len(benign))
        size, data = LENGTHS[place % len(LENGTHS)], ""
        while len(data) < size:
            data += texts.pop()["data"] + "\n\n"
        asked = rng.choice(texts.pop()["instructions"])
        at = rng.choice([span.end for span in sentences(data)])
        attack = rng.choice(attacks)["text"]
        planted = f"{data[:at].rstrip()} {attack} {data[at:]}"
        start = len(data[:at].rstrip()) + 1
        found.append(LabelledPair(f"{place}-clean", asked, data, 0, "buried"))
        found.append(
            LabelledPair(f"{place}-buried", asked, planted, 1, "buried", injected=CharSpan(start, start + len(attack)))
        )
    return found


def _lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (_TEXTS / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]
