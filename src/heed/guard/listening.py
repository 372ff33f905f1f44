"""How a guard listens: from encoded windows to the risk of each, what each token added, and what each head did.

Two ways with the same outside: `HeadListening` to the heads of a `Profile` (whole texts, one query token or the
first generated ones), `LearnedListening` with the weights of a `LearnedProfile` (windows, several query rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from heed.errors import ProfileError
from heed.guard.pair import Window
from heed.guard.prompt import parts_of
from heed.guard.query import QueryTokens, new_tokens
from heed.model import Model
from heed.probe import (
    LastRowMass,
    LayerKey,
    PooledMass,
    PrefixCache,
    Probe,
    PromptRow,
    Reading,
    TailMass,
    TokenPull,
    read,
)
from heed.probe.layers import layers_of
from heed.profile import LearnedProfile, Profile
from heed.profile.learned import FLOOR, log_mass
from heed.reduce.contrast import AGGREGATIONS
from heed.text.encode import Encoded
from heed.text.evidence import HeadGrid
from heed.text.span import CharSpan
from heed.text.windows import windows


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What was heard of one window: its risk (NaN if attention was not finite), its tokens' additions, its heads."""

    risk: float
    weights: Float[np.ndarray, " T"]
    """Of the data's tokens: what each added to the risk, 0 and above."""
    heads: HeadGrid


class Listening(Protocol):
    """What a guard needs of a profile."""

    @property
    def profile(self) -> Profile | LearnedProfile:
        """What it listens with."""
        ...

    @property
    def made_for(self) -> str:
        """What a calibration must have been made for."""
        ...

    @property
    def question(self) -> str:
        """Trusted text behind the data, empty if there is none."""
        ...

    def split(self, data: str) -> tuple[CharSpan, ...]:
        """The stretches of a text that are read, each for itself."""
        ...

    def hear(self, batch: Sequence[Window]) -> list[Heard]:
        """One pass over windows of like length."""
        ...

    def of_text(self, risks: Float[np.ndarray, " W"]) -> float:
        """The risk of a text from those of its windows."""
        ...


class HeadListening:
    """The Attention Tracker's way: chosen heads, the last token's attention on instruction and data, whole texts."""

    def __init__(self, model: Model, profile: Profile, query_tokens: QueryTokens) -> None:
        self.model, self.profile, self.query_tokens = model, profile, query_tokens
        self._layers = _layer_keys(model, profile)
        self._prefix = PrefixCache()

    @property
    def made_for(self) -> str:
        """The profile's digest and the query tokens."""
        return f"{self.profile.digest}/{self.query_tokens}"

    @property
    def question(self) -> str:
        """None."""
        return ""

    def split(self, data: str) -> tuple[CharSpan, ...]:
        """The whole text."""
        return (CharSpan(0, len(data)),)

    def of_text(self, risks: Float[np.ndarray, " W"]) -> float:
        """That of its only window."""
        return float(risks[0])

    def hear(self, batch: Sequence[Window]) -> list[Heard]:
        """One pass, or one for each generated query token."""
        reading = self._read(batch)
        risks = np.where(reading.finite, self._risks(reading), np.nan)
        mass, rows = reading.stack("mass"), reading.stack("row")
        return [self._heard(float(risks[item]), mass[item], rows[item], window) for item, window in enumerate(batch)]

    def _read(self, batch: Sequence[Window]) -> Reading:
        probes: dict[str, Probe] = {"mass": LastRowMass(), "row": PromptRow()}
        return read(
            self.model,
            [window.encoded for window in batch],
            probes,
            layers=self._layers,
            spans=[parts_of(window.encoded)[1:3] for window in batch],
            prefix=self._prefix,
            new_tokens=new_tokens(self.query_tokens),
        )

    def _risks(self, reading: Reading) -> Float[np.ndarray, " B"]:
        mass = np.stack([reading.stack("mass", step) for step in range(len(reading.steps))])  # N B L H S
        return np.asarray(np.mean([self.profile.score(step[..., 0], step[..., 1]) for step in mass], axis=0))

    def _heard(
        self, risk: float, mass: Float[np.ndarray, "L H 2"], rows: Float[np.ndarray, "L H T"], window: Window
    ) -> Heard:
        own, other, data = mass[..., 0], mass[..., 1], parts_of(window.encoded)[2]
        shape = (self.profile.n_layers, self.profile.n_heads)
        values, weights = np.full(shape, np.nan), np.zeros(shape)
        values[list(self.profile.layers)] = AGGREGATIONS[self.profile.aggregation](own, other)
        weights[self.profile.heads[:, 0], self.profile.heads[:, 1]] = self.profile.weights
        grid = HeadGrid(_SHARE, values, weights, "all on the data", "all on the instruction")
        return Heard(risk, self.profile.contributions(rows[..., data.slice()], own, other), grid)


class LearnedListening:
    """Learned weights on the log masses of all heads, for the tokens after the data, window by window."""

    def __init__(self, model: Model, profile: LearnedProfile) -> None:
        self.model, self.profile = model, profile
        self._layers = _layer_keys(model, profile)
        self._prefix = PrefixCache()

    @property
    def made_for(self) -> str:
        """The profile's digest."""
        return f"{self.profile.digest}/first"

    @property
    def question(self) -> str:
        """The one the profile was fitted with."""
        return self.profile.question

    def split(self, data: str) -> tuple[CharSpan, ...]:
        """Windows of whole sentences, as the profile was fitted on."""
        return windows(data, size=self.profile.window, overlap=self.profile.overlap)

    def of_text(self, risks: Float[np.ndarray, " W"]) -> float:
        """See `LearnedProfile.of_text`."""
        return self.profile.of_text(risks)

    def hear(self, batch: Sequence[Window]) -> list[Heard]:
        """One pass, ended after the profile's depth."""
        prompts, profile = [window.encoded for window in batch], self.profile
        pull = TokenPull(profile.rows, profile.pulls, span=2, floor=FLOOR)
        pooled = profile.pooled
        found = listen(self.model, prompts, profile.rows, self._layers, pooled=pooled, pull=pull, prefix=self._prefix)
        return [self._heard(listened, window) for listened, window in zip(found, batch, strict=True)]

    def _heard(self, listened: "Listened", window: Window) -> Heard:
        kind = "neutral" if not window.question.given and "neutral" in self.profile.weights else "given"
        risk = float(self.profile.score(listened.logs[None], kind=kind)[0]) if listened.finite else float("nan")
        added = listened.pulls[sorted(self.profile.weights).index(kind), parts_of(window.encoded)[2].slice()]
        own, other = listened.mass[-1, ..., 1], listened.mass[-1, ..., 2]
        values = np.full((self.profile.n_layers, self.profile.n_heads), np.nan)
        values[: self.profile.depth] = AGGREGATIONS["normalize_sum"](own, other)
        weights = np.zeros_like(values)
        size = np.abs(self.profile.weights[kind][..., 1:3]).sum((0, 3))
        weights[: self.profile.depth] = size / max(float(size.sum()), 1e-9)
        grid = HeadGrid(_SHARE, values, weights, "all on the data", "all on the instruction")
        return Heard(risk, np.maximum(added, 0.0), grid)


_SHARE = "Share of attention that stayed on the instruction"


@dataclass(frozen=True, slots=True, eq=False)
class Listened:
    """What weights are learned for and multiplied with: masses of query rows, the logarithms of them and of the pools.

    ``pulls`` are the sums over layers of a `TokenPull`; without one there are none (K = 0).
    """

    mass: Float[np.ndarray, "Q L H 4"]
    logs: Float[np.ndarray, "R L H 4"]
    pulls: Float[np.ndarray, "K T"]
    finite: bool


def listen(
    model: Model,
    prompts: Sequence[Encoded],
    rows: tuple[int, ...],
    layers: Sequence[LayerKey],
    *,
    pooled: bool,
    pull: TokenPull | None = None,
    prefix: PrefixCache | None = None,
) -> list[Listened]:
    """One pass over windows of like length: masses of query rows, and pools of the data's own tokens if ``pooled``.

    No token of the data sees what stands after it, so that of the pools the last part is 0.
    """
    parts = [parts_of(prompt) for prompt in prompts]
    probes: dict[str, Probe] = {"mass": TailMass(rows)}
    if pull is not None:
        probes["pull"] = pull
    if pooled:
        first, longest = min(part[2].start for part in parts), max(map(len, prompts))
        probes["pools"] = PooledMass(2, last_rows=longest - first, floor=FLOOR)
    reading = read(model, prompts, probes, layers=layers, spans=parts, prefix=prefix)
    mass = reading.stack("mass").swapaxes(1, 3).swapaxes(2, 3)  # B L H Q S -> B Q L H S
    logs = log_mass(mass)
    if pooled:
        pools = reading.stack("pools").swapaxes(1, 3).swapaxes(2, 3)
        pools[..., 3] = 0.0
        logs = np.concatenate([logs, pools], 1)
    pulls = np.zeros((len(prompts), 0, 0)) if pull is None else reading.stack("pull").sum(1)
    return [Listened(mass[item], logs[item], pulls[item], bool(reading.finite[item])) for item in range(len(prompts))]


def _layer_keys(model: Model, profile: Profile | LearnedProfile) -> tuple[LayerKey, ...]:
    keys = {key.index: key for key in layers_of(model).keys if key.kind == "self"}
    missing = [layer for layer in profile.layers if layer not in keys]
    if missing:
        raise ProfileError(
            f"expected attention in layers {missing} (a profile of {profile.model}), found none in {model.name}"
        )
    return tuple(keys[layer] for layer in profile.layers)
