"""A learned profile: a weight for every head, query row and part of the prompt, and the windows it was learned on.

The risk is logistic in the logarithms of attention masses, so that it sees ratios: how much a head's last rows keep
on the instruction, put on the data, on what stands before and after; and, pooled over the data's own tokens, how
these look back at the instruction. It is fitted for one model and refused for
another. It knows no task's threshold and no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from heed.errors import ProfileError
from heed.profile.stored import ModelIdentity, digest_of, packed, read_json, reading, refuse_other, unpacked, write_json

VERSION = 2
PARTS = ("before", "own", "other", "after")
"""The parts of a prompt whose mass is weighed: up to the trusted part, it, the untrusted part, and all after that."""
POOLS = ("mean", "highest", "lowest", "spread")
"""What may be weighed of the log masses of the untrusted part's own tokens, as `heed.probe.PooledMass` gives them."""
FLOOR = 1e-6
"""Added to a mass before its logarithm is taken: less than the rounding of 16-bit keys can tell from none."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnedProfile:
    """Weights over query rows, pools, layers, heads and parts of one model's attention.

    ``weights`` maps a kind of prompt (``given``: with the application's instruction; ``neutral``: without, where the
    others stand in if there are none) to ``[R, L, H, 4]``, ``bias`` to a number. R counts the query ``rows``, given
    from the prompt's end (-1: the last token), and after them `POOLS` if the profile is ``pooled``. L is the depth:
    layers beyond it are not run. ``window`` and ``overlap`` are bytes of the stretches that a text is read in.
    """

    task: str
    model: str
    n_layers: int
    n_heads: int
    rows: tuple[int, ...]
    weights: Mapping[str, Float[np.ndarray, "R L H 4"]]
    bias: Mapping[str, float]
    window: int
    overlap: int = 0
    pooled: bool = False
    """Whether the untrusted part's own tokens are listened to, beside the query rows."""
    question: str = ""
    """Trusted text that follows the untrusted part; the query rows look back from it."""
    search_cost: float = 0.0
    """Log-odds taken off for every e-fold of windows: the worst of many is high by chance."""
    name: str = ""
    """``fast`` or ``full`` where several are shipped for the same weights."""
    source: str = ""
    method: str = ""
    fingerprints: tuple[str, ...] = ()
    data_hash: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {array.shape for array in self.weights.values()}
        depth = self.depth if "given" in self.weights else 0
        expected = (len(self.rows) + self.pooled * len(POOLS), depth, self.n_heads, len(PARTS))
        if set(self.weights) != set(self.bias) or "given" not in self.weights or shapes != {expected}:
            raise ProfileError(
                f"expected weights of the shape {expected} and a bias for each kind of prompt, found {shapes} for "
                f"{sorted(self.weights)} and {sorted(self.bias)}: fit the profile again"
            )
        numbers: list[Any] = [*self.weights.values(), *self.bias.values(), float(self.search_cost)]
        if not all(np.isfinite(number).all() for number in numbers):
            raise ProfileError("expected finite weights, found NaN or infinity: fit the profile again")
        if not self.rows or max(self.rows) > -1 or not 0 < self.depth <= self.n_layers or self.window < 1:
            raise ProfileError(
                f"expected rows counted from the end, 1 to {self.n_layers} layers and a window, found {self.rows}, "
                f"{self.depth} and {self.window}: fit the profile again"
            )

    @property
    def depth(self) -> int:
        """How many layers a pass needs."""
        return int(self.weights["given"].shape[1])

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose masses `score` needs: all down to the depth."""
        return tuple(range(self.depth))

    @property
    def digest(self) -> str:
        """Identity of everything that makes the score: what a calibration is made for."""
        weights = {kind: array.astype(np.float32).round(6).tolist() for kind, array in self.weights.items()}
        parts = [[kind, self.bias[kind], weights[kind]] for kind in sorted(weights)]
        return digest_of(
            [parts, list(self.rows), self.pooled, self.window, self.overlap, self.question, self.search_cost]
        )

    def score(self, logs: Float[np.ndarray, "B R L H 4"], *, kind: str) -> Float[np.ndarray, " B"]:
        """Risk in (0, 1): the logistic function of the weighted log masses (`log_mass`) and pools."""
        logit = np.tensordot(logs, self.weights[kind], axes=4) + self.bias[kind]
        return np.asarray(_logistic(logit))

    def of_text(self, risks: Float[np.ndarray, " W"]) -> float:
        """The risk of a text from those of its windows: the worst one's, less what searching so many costs."""
        worst = float(np.max(risks))
        if len(risks) == 1 or not 0.0 < worst < 1.0:
            return worst
        return float(_logistic(np.log(worst / (1.0 - worst)) - self.search_cost * np.log(len(risks))))

    @property
    def pulls(self) -> Float[np.ndarray, "K Q L H"]:
        """The weights of the other part's log mass, for each kind of prompt (in order of its name) and query row.

        A token's share of that mass, times its weight, is what it adds to the risk's log-odds, to first order: see
        `heed.probe.TokenPull`. Pools have no part in it.
        """
        own = [self.weights[kind][: len(self.rows), ..., PARTS.index("other")] for kind in sorted(self.weights)]
        return np.stack(own).astype(np.float32)

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
        value = {
            "version": VERSION,
            **{name: getattr(self, name) for name in _PLAIN},
            "rows": list(self.rows),
            "fingerprints": list(self.fingerprints),
            "quality": dict(self.quality),
            "depth": self.depth,
            "bias": dict(self.bias),
            "weights": {kind: packed(array) for kind, array in self.weights.items()},
        }
        write_json(path, value)

    @classmethod
    def load(cls, path: Path) -> "LearnedProfile":
        """Read what `save` wrote.

        Raises
        ------
        ProfileError
            If the file is missing, damaged or of another version.
        """
        value = read_json(path, version=VERSION, kind="profile")
        with reading(path):
            rows = len(value["rows"]) + bool(value["pooled"]) * len(POOLS)
            shape = (rows, int(value["depth"]), int(value["n_heads"]), len(PARTS))
            return cls(
                **{name: value[name] for name in _PLAIN},
                rows=tuple(map(int, value["rows"])),
                fingerprints=tuple(value["fingerprints"]),
                quality=value["quality"],
                bias={kind: float(number) for kind, number in value["bias"].items()},
                weights={kind: unpacked(text, shape) for kind, text in value["weights"].items()},
            )


def log_mass(mass: Float[np.ndarray, "*B 4"]) -> Float[np.ndarray, "*B 4"]:
    """What is weighed: logarithms of masses, of no mass -13.8."""
    return np.asarray(np.log(mass + FLOOR))


def _logistic(value: Any) -> Any:
    return 0.5 + 0.5 * np.tanh(value / 2.0)


_PLAIN = (
    *("task", "model", "name", "n_layers", "n_heads", "window", "overlap", "pooled", "question", "search_cost"),
    *("source", "method", "data_hash"),
)
