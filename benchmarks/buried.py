"""Long documents of several benign texts, with and without one attack buried in them: what dilution looks like."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from heed.guard.data import LabelledPair
from heed.text.span import CharSpan
from heed.text.split import sentences

_TEXTS = Path(__file__).parents[1] / "scripts" / "texts"
LENGTHS = (16_000, 32_000)
"""Characters: about 4,000 and 8,000 tokens."""
Carrier = tuple[str, str]
"""An instruction and a benign text it fits."""


def own_documents(count: int) -> list[LabelledPair]:
    """Of the texts in this repository: mails, tool outputs and documents, many of them full of requests."""
    carriers = [
        (row["instructions"][0], row["data"]) for kind in ("documents", "mail", "tools") for row in _lines(kind)
    ]
    return _documents("buried_own", carriers, count)


def public_documents(count: int, cite: Path) -> list[LabelledPair]:
    """Of public retrieval contexts: articles and reports, asked about."""
    rows = [row for name in ("wice", "medcalc", "hotpotqa") for row in _read(cite / f"{name}.jsonl")]
    return _documents("buried_public", [(row["question"], row["separator"].join(row["units"])) for row in rows], count)


def _documents(group: str, carriers: Sequence[Carrier], count: int) -> list[LabelledPair]:
    """``count`` benign documents and their twins with an attack behind a random sentence."""
    rng = Random(0)
    attacks = [row["text"] for row in _lines("attacks") if row["language"] == "en" and len(row["text"]) >= 40]
    found = []
    for place in range(count):
        drawn, size, data = rng.sample(carriers, len(carriers)), LENGTHS[place % len(LENGTHS)], ""
        asked = drawn[0][0]
        while len(data) < size:
            data += drawn.pop(0)[1] + "\n\n"
        data = data[:size]
        at = rng.choice([span.end for span in sentences(data)])
        attack = rng.choice(attacks)
        head = data[:at].rstrip() + " "
        planted, span = head + attack + " " + data[at:], CharSpan(len(head), len(head) + len(attack))
        found.append(LabelledPair(f"{group}-{place}-clean", asked, data, 0, group))
        found.append(LabelledPair(f"{group}-{place}", asked, planted, 1, group, injected=span))
    return found


def _lines(name: str) -> list[dict]:
    return _read(_TEXTS / f"{name}.jsonl")


def _read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
