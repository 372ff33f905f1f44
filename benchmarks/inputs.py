"""What benchmarks read: the embedded model, its guard, prompts of an exact length, rows of development data."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random

import heed
from harness import Skip
from heed.errors import ModelNotFoundError, ProfileError
from heed.guard.prompt import DATA, encode_pair
from heed.probe.prompt import tokenizer_of
from heed.settings import settings

INSTRUCTION = "You answer customers of a small shop. Summarize the message below in one short sentence."

_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house"
)
_WORDS = tuple(_TEXT.split())


def embedded(dtype: str = "auto") -> heed.Model:
    """The embedded model, by default in the dtype heed chooses."""
    try:
        return heed.load(dtype=dtype)
    except ModelNotFoundError as error:
        raise Skip(str(error)) from error


def dtype_name(model: heed.Model) -> str:
    """Such as ``float32``."""
    return str(model.dtype).removeprefix("torch.")


def guard_of(model: heed.Model, *, profile: str | None = None) -> heed.Guard:
    """The guard with the model's shipped (or fitted) profile, or the shipped one of a name; it has read nothing yet."""
    try:
        return heed.Guard(model, profile=profile)
    except ProfileError as error:
        raise Skip(str(error)) from error


def judging_guard(model: heed.Model, *, profile: str | None = None) -> heed.Guard:
    """A guard that decides, not only scores."""
    guard = guard_of(model, profile=profile)
    if guard.calibrations is None:
        raise Skip(f"the guard profile of {model.name} has no calibration, so nothing is decided")
    return guard


def data_of(model: heed.Model, tokens: int, *, seed: int, instruction: str = INSTRUCTION) -> str:
    """Untrusted data, other words for each seed, with which the guard's whole prompt has so many tokens."""
    tokenizer = tokenizer_of(model)
    around = len(encode_pair(instruction, _WORDS[0], tokenizer)) - 1
    drawn = Random(seed).choices(_WORDS, k=tokens - around)
    data = " ".join(drawn)
    found = len(encode_pair(instruction, data, tokenizer))
    if found != tokens:
        raise ValueError(
            f"expected a prompt of {tokens} tokens, found {found}: a word is not one token in {model.name}"
        )
    return data


def prose_of(model: heed.Model, tokens: int, *, seed: int) -> str:
    """Untrusted data of so many tokens by itself, in sentences of a dozen words, other words for each seed."""
    draw = Random(seed)
    signs = ({0: "The", 12: "."}.get(place % 13, draw.choice(_WORDS)) for place in range(tokens))
    data = " ".join(signs).replace(" .", ".")
    found = len(encode_pair(INSTRUCTION, data, tokenizer_of(model)).part(DATA))
    if found != tokens:
        raise ValueError(f"expected data of {tokens} tokens, found {found}: a word is not one token in {model.name}")
    return data


@dataclass(frozen=True, slots=True)
class Row:
    """One row of development data; ``label`` is 1 where the data holds an injection."""

    instruction: str | None
    data: str
    label: int


def dev_sets(limit: int) -> dict[str, tuple[list[Row], int]]:
    """The guard's development sets: at most ``limit`` rows of each (0: all), classes alike, and how many there are."""
    folder = settings().dev_data
    paths = [] if folder is None else sorted((Path(folder) / "guard").glob("*.jsonl"))
    if not paths:
        raise Skip("no development data: HEED_DEV_DATA names a folder with guard/*.jsonl")
    found = {path.stem: _rows(path) for path in paths}
    return {name: (_sample(rows, limit), len(rows)) for name, rows in found.items()}


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        values = [json.loads(line) for line in lines]
    return [Row(value["instruction"], value["data"], int(value["label"])) for value in values]


def _sample(rows: list[Row], limit: int) -> list[Row]:
    if not limit or len(rows) <= limit:
        return rows
    classes = defaultdict(list)
    for row in rows:
        classes[row.label].append(row)
    drawn: list[Row] = []
    for place, label in enumerate(sorted(classes, key=lambda label: len(classes[label]))):
        share = (limit - len(drawn)) // (len(classes) - place)
        drawn += Random(0).sample(classes[label], min(share, len(classes[label])))
    return drawn
