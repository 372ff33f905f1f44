"""A profile: which heads of a model to listen to, how to weigh them, and how good that was found to be.

It is fitted for one model and refused for another. It knows no task's threshold and no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from heed.errors import ProfileError
from heed.profile.stored import ModelIdentity, digest_of, read_json, reading, write_json
from heed.reduce.contrast import AGGREGATIONS, EPSILON, Aggregation, against_mean

VERSION = 1

Provenance = Literal["fitted", "published"]
Baseline = Literal["none", "all_heads"]
"""What a head's share is held against: nothing, or the mean over all heads down to the profile's depth."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Weights over the heads of one model.

    ``heads`` is ``[N, 2]``, layer and head; ``weights`` is ``[N]``, its absolute values sum to 1. A negative weight
    is a head that turns the other way. ``fingerprints`` are the weights it was measured on (none where published
    heads were taken over: then the model's name and anatomy must fit).
    """

    task: str
    model: str
    n_layers: int
    n_heads: int
    heads: np.ndarray
    weights: np.ndarray
    aggregation: Aggregation = "normalize_sum"
    baseline: Baseline = "none"
    provenance: Provenance = "fitted"
    source: str = ""
    method: str = ""
    fingerprints: tuple[str, ...] = ()
    data_hash: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_heads()

    @property
    def name(self) -> str:
        """What tells it from others for the same weights: nothing."""
        return ""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose masses `score` needs, ascending: those of its heads, or all down to the deepest of them."""
        if self.baseline == "all_heads":
            return tuple(range(self.depth))
        return tuple(sorted({int(layer) for layer in self.heads[:, 0]}))

    @property
    def depth(self) -> int:
        """How many layers a pass needs: one more than the deepest it listens to."""
        return int(self.heads[:, 0].max()) + 1

    @property
    def digest(self) -> str:
        """Identity of heads, weights and aggregation: what a calibration is made for."""
        return digest_of(
            [self.heads.tolist(), [round(float(w), 8) for w in self.weights], self.aggregation, self.baseline]
        )

    def score(self, own: Float[np.ndarray, "B L H"], other: Float[np.ndarray, "B L H"]) -> Float[np.ndarray, " B"]:
        """Risk in [0, 1] from the masses of the profile's `layers`, in that order; see `risk`."""
        rows = np.searchsorted(np.array(self.layers), self.heads[:, 0])
        shares = AGGREGATIONS[self.aggregation](own, other)
        weights = np.zeros(shares.shape[1:])
        weights[rows, self.heads[:, 1]] = self.weights
        return risk(weights, shares, baseline=self.baseline)

    def contributions(
        self, rows: Float[np.ndarray, "L H T"], own: Float[np.ndarray, "L H"], other: Float[np.ndarray, "L H"]
    ) -> Float[np.ndarray, " T"]:
        """What each token of the other part adds to the risk; only positive contributions are kept.

        ``rows`` is the attention on these tokens, in the profile's `layers`. With ``normalize_sum`` a head's share is 1
        minus the sum over tokens of ``row[t] / (own + other)``, so that the risk is a sum over tokens, exactly; other
        aggregations are attributed in the same way.
        """
        parts = rows / (own + other + EPSILON)[..., None]
        if self.baseline == "all_heads":
            parts = parts - parts.mean((0, 1))
        index = np.searchsorted(np.array(self.layers), self.heads[:, 0])
        return np.asarray(np.maximum(self.weights @ parts[index, self.heads[:, 1]], 0.0))

    def refuse_other(self, model: ModelIdentity) -> None:
        """Refuse a model it was not made for.

        Raises
        ------
        ProfileError
            With what was expected and found.
        """
        anatomy = model.anatomy
        shape = (anatomy.layers, anatomy.heads)
        if shape != (self.n_layers, self.n_heads):
            raise ProfileError(
                f"expected {self.n_layers} layers x {self.n_heads} heads (a profile of {self.model}), "
                f"found {shape[0]} x {shape[1]} in {model.name}: fit one with `heed guard fit --model {model.name}`"
            )
        if self.fingerprints and model.fingerprint not in self.fingerprints:
            raise ProfileError(
                f"expected the weights of {self.model} ({', '.join(self.fingerprints)}), found {model.name} "
                f"({model.fingerprint}): fit a profile with `heed guard fit --model {model.name}`"
            )
        if not self.fingerprints and not self.is_named_like(model):
            raise ProfileError(
                f"expected {self.model} (the profile names no weights, so the name must fit), found {model.name}: "
                f"fit a profile with `heed guard fit --model {model.name}`"
            )

    def is_named_like(self, model: ModelIdentity) -> bool:
        """Whether the model bears the name of the one it was made for: in full or its last part, in any case."""
        wanted, found = self.model.lower(), model.name.lower().rstrip("/\\")
        return bool(found) and (found == wanted or _last_part(found) == _last_part(wanted))

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        value = {
            "version": VERSION,
            "task": self.task,
            "model": self.model,
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "aggregation": self.aggregation,
            "baseline": self.baseline,
            "provenance": self.provenance,
            "source": self.source,
            "method": self.method,
            "fingerprints": list(self.fingerprints),
            "data_hash": self.data_hash,
            "quality": dict(self.quality),
            "heads": [[*map(int, head), round(float(w), 8)] for head, w in zip(self.heads, self.weights, strict=True)],
        }
        write_json(path, value)

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read what `save` wrote.

        Raises
        ------
        ProfileError
            If the file is missing, damaged or of another version.
        """
        value = read_json(path, version=VERSION, kind="profile")
        with reading(path):
            rows = np.array(value["heads"], dtype=np.float64)
            if rows.ndim != 2 or rows.shape[1] != 3 or not (np.isfinite(rows).all() and (rows[:, :2] % 1 == 0).all()):
                raise ValueError("heads that are not rows of layer, head and weight")
            rest = {name: value[name] for name in value if name not in ("version", "heads", "fingerprints")}
            prints = tuple(value["fingerprints"])
            return cls(heads=rows[:, :2].astype(np.int64), weights=rows[:, 2], fingerprints=prints, **rest)

    def _check_choices(self) -> None:
        choices: tuple[tuple[str, tuple[str, ...]], ...] = (
            (self.aggregation, tuple(AGGREGATIONS)),
            (self.baseline, get_args(Baseline)),
            (self.provenance, get_args(Provenance)),
        )
        for found, known in choices:
            if found not in known:
                raise ProfileError(f"expected one of {', '.join(known)}, found {found!r}: fit the profile again")
        if not all(type(size) is int and size > 0 for size in (self.n_layers, self.n_heads)):
            raise ProfileError(
                f"expected numbers of layers and heads, found {self.n_layers!r} and {self.n_heads!r}: "
                "fit the profile again"
            )

    def _check_heads(self) -> None:
        shapes = self.heads.shape, self.weights.shape
        if not len(self.weights) or shapes != ((len(self.weights), 2), (len(self.weights),)):
            raise ProfileError(
                f"expected at least one head (layer and head) with a weight each, found the shapes {shapes[0]} and "
                f"{shapes[1]}: fit the profile again"
            )
        if not np.issubdtype(self.heads.dtype, np.integer) or len(np.unique(self.heads, axis=0)) < len(self.heads):
            raise ProfileError("expected heads as whole numbers, each once, found others: fit the profile again")
        inside = (self.heads >= 0).all() and (self.heads < [self.n_layers, self.n_heads]).all()
        total = np.abs(self.weights).sum()
        if not inside or not np.isclose(total, 1.0, atol=1e-4):
            raise ProfileError(
                f"expected heads within {self.n_layers} layers x {self.n_heads} heads and weights that sum to 1, "
                f"found a largest of {self.heads.max(0).tolist()} and {total:.3f}: fit the profile again"
            )


def risk(
    weights: Float[np.ndarray, "L H"], shares: Float[np.ndarray, "B L H"], *, baseline: Baseline
) -> Float[np.ndarray, " B"]:
    """1 minus the weighted share of attention that stayed on the own part, in [0, 1].

    A head of negative weight counts as its complement. Held against the mean of all heads, shares lie in [-1, 1] and
    the risk is ``(1 - weighted share) / 2``.
    """
    if baseline == "all_heads":
        return np.asarray((1.0 - (against_mean(shares) * weights).sum((1, 2))) / 2.0)
    oriented = np.where(weights >= 0, shares, 1.0 - shares)
    return np.asarray(1.0 - (oriented * np.abs(weights)).sum((1, 2)))


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]
