"""What the tests of `heed cite` share: a small context, rows of questions, a profile for the tiny model."""

import json
from pathlib import Path

import numpy as np

from heed.model import load
from heed.profile import RankingProfile

CONTEXT = "Ann came at 1.4 pm. Bob left. Cy slept in Fig. 2 of the book. Dee ate.\n"
QUESTION = "Who left?"
ROWS = [
    {"id": "a", "question": QUESTION, "units": ["Ann came.", "Bob left.", "Cy slept."], "separator": " "},
    {"id": 7, "question": "Who slept?", "units": ["Ann came.", " ", "Cy slept."], "response": "Cy did. He did."},
    {"question": "😀 שלום?", "units": ["\0 yes", "no \u202e"], "separator": "\n\n", "response": None},
]


def ranking_profile(path: Path, model: Path) -> Path:
    """A profile with random weights for the tiny model."""
    rng = np.random.default_rng(0)
    loaded = load(model, dtype="float32")
    shape = (loaded.anatomy.layers, loaded.anatomy.heads)
    weights = {"question": rng.normal(size=(2, *shape)), "response": rng.normal(size=(1, *shape))}
    RankingProfile(
        task="cite",
        model=loaded.name,
        n_layers=shape[0],
        n_heads=shape[1],
        weights=weights,
        fingerprints=(loaded.fingerprint,),
    ).save(path)
    return path


def write_rows(path: Path, *rows: object) -> Path:
    """JSON lines; bytes are written as they are."""
    lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
