"""A ranking profile: which heads show what of a context matters, learned from rankings with known answers.

A candidate's score is linear in the logarithms of the attention masses it gets, each held against the other
candidates of its context: what all of them get (sinks, position, length of the prompt) falls out. The idea of
retrieval heads (Wu et al., arXiv 2404.15574) and of learned weights over heads (AT2, arXiv 2504.13752). It knows no
torch and no text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from heed.errors import ProfileError
from heed.profile.learned import FLOOR
from heed.profile.stored import ModelIdentity, digest_of, packed, read_json, reading, refuse_other, unpacked, write_json

VERSION = 3
_SPREAD = 0.05
"""Added to the spread of log masses, so that candidates that are all alike are not blown up."""
_PLAIN = ("task", "model", "name", "n_layers", "n_heads", "source", "method", "data_hash")


@dataclass(frozen=True, slots=True, eq=False)
class RankingProfile:
    """Weights over groups of rows, layers and heads of one model's attention.

    ``weights`` maps a kind of rows (``question``, ``response``) to ``[G, L, H]``: G groups of rows, L layers down to
    the depth; deeper layers are not run.
    """

    task: str
    model: str
    n_layers: int
    n_heads: int
    weights: Mapping[str, Float[np.ndarray, "G L H"]]
    name: str = ""
    source: str = ""
    method: str = ""
    fingerprints: tuple[str, ...] = ()
    data_hash: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, array in self.weights.items():
            good = array.ndim == 3 and 0 < array.shape[1] <= self.n_layers and array.shape[2] == self.n_heads
            if not good or not np.isfinite(array).all():
                raise ProfileError(
                    f"expected finite weights [groups, up to {self.n_layers} layers, {self.n_heads} heads], found "
                    f"{array.shape} for {kind}: fit the profile again"
                )
        if not self.weights:
            raise ProfileError("expected weights of at least one kind of rows, found none: fit the profile again")

    def depth(self, kind: str) -> int:
        """How many layers a pass needs."""
        return int(self.weights[kind].shape[1])

    @property
    def digest(self) -> str:
        """Identity of everything that makes the scores."""
        return digest_of(
            [[kind, np.round(self.weights[kind].astype(np.float64), 6).tolist()] for kind in sorted(self.weights)]
        )

    def score(self, mass: Float[np.ndarray, "G L H U"], *, kind: str) -> Float[np.ndarray, " U"]:
        """A number for each of U candidates, higher is better, from the masses they get (in [0, 1])."""
        return np.asarray(np.tensordot(self.weights[kind], contrasts(mass), axes=3))

    def refuse_other(self, model: ModelIdentity) -> None:
        """Refuse a model it was not made for.

        Raises
        ------
        ProfileError
            With what was expected and found.
        """
        refuse_other(self, model)

    def save(self, path: Path) -> None:
        """Write as JSON, atomically; weights as base64 of little-endian fp32."""
        arrays = {kind: {"shape": list(array.shape), "data": packed(array)} for kind, array in self.weights.items()}
        plain = {name: getattr(self, name) for name in _PLAIN}
        rest = {"fingerprints": list(self.fingerprints), "quality": dict(self.quality), "weights": arrays}
        write_json(path, {"version": VERSION, **plain, **rest})

    @classmethod
    def load(cls, path: Path) -> "RankingProfile":
        """Read what `save` wrote.

        Raises
        ------
        ProfileError
            If the file is missing, damaged or of another version.
        """
        value = read_json(path, version=VERSION, kind="profile")
        with reading(path):
            weights = {kind: unpacked(one["data"], one["shape"]) for kind, one in value["weights"].items()}
            plain = {name: value[name] for name in _PLAIN}
            return cls(**plain, fingerprints=tuple(value["fingerprints"]), quality=value["quality"], weights=weights)


def contrasts(mass: Float[np.ndarray, "*F U"]) -> Float[np.ndarray, "*F U"]:
    """What is weighed: log masses less their mean over the candidates, in units of their spread."""
    logs = np.log(mass + FLOOR)
    return np.asarray((logs - logs.mean(-1, keepdims=True)) / (logs.std(-1, keepdims=True) + _SPREAD))
