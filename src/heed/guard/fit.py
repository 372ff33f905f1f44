"""Fit a profile and its calibration for any model from labelled pairs, on a CPU in minutes.

One pass over each pair keeps the masses of all heads; everything after that is arithmetic on them. Each candidate
(how strict a margin, how many layers) is judged on data sets it was not chosen on, with the length of the text as the
baseline beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float

from heed.errors import InputError, SpanNotFoundError
from heed.guard.calibration import Calibration, calibrate
from heed.guard.data import LabelledPair, data_hash, load_pairs
from heed.guard.prompt import NEUTRAL_INSTRUCTION, encode_pair, spans_of
from heed.guard.shipped import CALIBRATION_FILE
from heed.measure.operating import operating_point
from heed.measure.ranking import auroc, auroc_interval
from heed.model import Model
from heed.probe import LastRowMass, read
from heed.probe.prompt import tokenizer_of
from heed.profile import PROFILE_FILE, Profile, fitted_folder
from heed.profile.fit import Labelled, left_out, margin, mean_auroc, risk, stability
from heed.reduce.contrast import AGGREGATIONS, Aggregation
from heed.settings import settings
from heed.text.encode import Encoded

MARGINS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
ENOUGH = 0.01
"""Of two candidates whose mean AUROC differs by less than this, the one that needs fewer layers is taken."""
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of choosing heads, and how it did on data sets it had not seen."""

    depth: int
    k: float
    heads: int
    auroc: float
    stability: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """A fitted profile, its calibration, where they were written, and what else was tried."""

    profile: Profile
    calibration: Calibration
    folder: Path
    candidates: tuple[Candidate, ...]
    rows: int
    left_out_rows: int
    """Rows that could not be read (longer than the model's context, or without a token of their own)."""
    seconds: float

    def record(self) -> dict[str, Any]:
        """JSON-ready summary."""
        return {
            "folder": str(self.folder),
            "model": self.profile.model,
            "heads": len(self.profile.heads),
            "depth": self.profile.depth,
            "method": self.profile.method,
            "threshold": self.calibration.threshold,
            "rows": self.rows,
            "left_out_rows": self.left_out_rows,
            "seconds": round(self.seconds, 1),
            "quality": dict(self.profile.quality),
        }

    def table(self) -> list[tuple[str, ...]]:
        """Quality by data set, header first."""
        header = ("data set", "rows", "AUROC left out", "AUROC fitted", "AUROC of length", "caught", "false alarms")
        rows: list[tuple[str, ...]] = [header]
        for name, one in self.profile.quality["sets"].items():
            rows.append((name, str(one["rows"]), *(_shown(one.get(key)) for key in _COLUMNS)))
        return rows


_COLUMNS = ("auroc_left_out", "auroc", "auroc_length", "tpr", "fpr")


def fit(
    model: Model,
    files: Sequence[Path],
    *,
    out: Path | None = None,
    fpr: float = 0.01,
    depth: int | None = None,
    aggregation: Aggregation = "normalize_sum",
    limit: int | None = None,
    longest: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> FitReport:
    """Fit and write a profile and a calibration.

    Parameters
    ----------
    files
        JSONL files of labelled pairs, one data set each.
    out
        Folder to write to; None: where `Guard` finds it for these weights.
    fpr
        Share of benign rows that may be flagged.
    depth
        Most layers a pass may need; None: the fewest that lose less than `ENOUGH`.
    limit
        Most rows of each file.
    longest
        Longer prompts, in tokens, are left out of the fit.
    progress
        Called with tokens read and tokens to read.

    Raises
    ------
    RecordError
        If a row does not follow the format.
    InputError
        If the settings leave nothing to fit.
    """
    started = perf_counter()
    if not 0.0 < fpr < 1.0 or (depth is not None and not 1 <= depth <= model.anatomy.layers):
        raise InputError(f"expected fpr in (0, 1) and depth in 1..{model.anatomy.layers}, found {fpr} and {depth}")
    wanted = load_pairs(files, limit=limit)
    pairs, encoded = _encode(model, wanted, longest)
    masses = read_masses(model, encoded, progress=progress)
    shares = AGGREGATIONS[aggregation](masses[..., 0], masses[..., 1])
    data = Labelled(shares, np.array([p.label for p in pairs]), np.array([p.group for p in pairs]))
    candidates = _candidates(data, (depth,) if depth else _depths(model.anatomy.layers))
    best = _best(candidates)
    weights = margin(best.k)(data.layers(best.depth))
    profile = _profile(model, weights, aggregation, best, data_hash(pairs))
    scores = risk(weights, shares)
    calibration = calibrate(
        scores, data.labels, fpr=fpr, made_for=f"{profile.digest}/first", data_hash=data_hash(pairs)
    )
    quality = _quality(pairs, data.layers(best.depth), best, scores, calibration.threshold)
    profile = _with_quality(profile, quality)
    folder = out or fitted_folder(settings().profiles_dir, model, task="guard")
    profile.save(folder / PROFILE_FILE)
    calibration.save(folder / CALIBRATION_FILE)
    seconds = perf_counter() - started
    return FitReport(profile, calibration, folder, candidates, len(pairs), len(wanted) - len(pairs), seconds)


def read_masses(
    model: Model, encoded: Sequence[Encoded], *, progress: Callable[[int, int], None] | None = None
) -> Float[np.ndarray, "N L H 2"]:
    """Mass of the last prompt token on instruction and data, for every head of every pair."""
    order = np.argsort([len(prompt) for prompt in encoded], kind="stable")
    total, done = sum(map(len, encoded)), 0
    masses: dict[int, np.ndarray] = {}
    batch: list[int] = []
    for place, index in enumerate(order):
        batch.append(int(index))
        following = len(encoded[order[place + 1]]) if place + 1 < len(order) else None
        if following is not None and (len(batch) + 1) * following <= _BATCH_TOKENS:
            continue
        prompts = [encoded[item] for item in batch]
        reading = read(model, prompts, {"mass": LastRowMass()}, spans=[spans_of(prompt) for prompt in prompts])
        masses.update(zip(batch, reading.stack("mass"), strict=True))
        done += sum(map(len, prompts))
        batch = []
        if progress is not None:
            progress(done, total)
    return np.stack([masses[index] for index in range(len(encoded))])


def _encode(model: Model, pairs: Sequence[LabelledPair], longest: int) -> tuple[list[LabelledPair], list[Encoded]]:
    kept, encoded = [], []
    longest = min(longest, model.context or longest)
    for pair in pairs:
        try:
            prompt = encode_pair(pair.instruction or NEUTRAL_INSTRUCTION, pair.data, tokenizer_of(model))
            spans_of(prompt)
        except SpanNotFoundError:
            continue
        if len(prompt) <= longest:
            kept.append(pair)
            encoded.append(prompt)
    return kept, encoded


def _depths(layers: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(layers * share)) for share in (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)}))


def _candidates(data: Labelled, depths: Sequence[int]) -> tuple[Candidate, ...]:
    found = []
    for depth in depths:
        shallow = data.layers(depth)
        for k in MARGINS:
            choose = margin(k)
            heads = int((choose(shallow) != 0).sum())
            quality = mean_auroc(shallow, left_out(shallow, choose))
            found.append(Candidate(depth, k, heads, quality, stability(shallow, choose)))
            if heads == 1:
                break
    return tuple(found)


def _best(candidates: Sequence[Candidate]) -> Candidate:
    """The shallowest of those that are nearly as good as the best; among these the most stable choice of heads."""
    top = max(candidate.auroc for candidate in candidates)
    near = [candidate for candidate in candidates if candidate.auroc >= top - ENOUGH]
    shallowest = min(candidate.depth for candidate in near)
    return max((one for one in near if one.depth == shallowest), key=lambda one: (one.stability, -one.k))


def _profile(
    model: Model, weights: Float[np.ndarray, "L H"], aggregation: Aggregation, best: Candidate, digest: str
) -> Profile:
    heads = np.argwhere(weights != 0)
    return Profile(
        task="guard",
        model=model.name,
        n_layers=model.anatomy.layers,
        n_heads=model.anatomy.heads,
        heads=heads,
        weights=weights[heads[:, 0], heads[:, 1]],
        aggregation=aggregation,
        source="fitted by `heed guard fit`",
        method=f"margin, k = {best.k}, depth {best.depth}",
        fingerprints=(model.fingerprint,),
        data_hash=digest,
    )


def _quality(
    pairs: Sequence[LabelledPair], data: Labelled, best: Candidate, scores: Float[np.ndarray, " N"], threshold: float
) -> dict[str, Any]:
    """Per data set: AUROC with heads chosen without it and with it, of the length alone, and rates at the threshold."""
    unseen = left_out(data, margin(best.k))
    lengths = np.array([len(pair.data) for pair in pairs], dtype=np.float64)
    sets: dict[str, Any] = {}
    for group in np.unique(data.groups):
        own = data.groups == group
        labels = data.labels[own]
        one: dict[str, Any] = {"rows": int(own.sum()), "attacks": int(labels.sum())}
        if len(np.unique(labels)) == 2:
            interval = auroc_interval(labels, unseen[own], method="newcombe")
            one |= {
                "auroc_left_out": round(auroc(labels, unseen[own]), 4),
                "auroc_left_out_interval": [round(interval.low, 4), round(interval.high, 4)],
                "auroc": round(auroc(labels, scores[own]), 4),
                "auroc_length": round(auroc(labels, lengths[own]), 4),
            }
        flagged = scores[own] >= threshold
        one["tpr"] = round(float(flagged[labels == 1].mean()), 4) if labels.any() else None
        one["fpr"] = round(float(flagged[labels == 0].mean()), 4) if not labels.all() else None
        sets[str(group)] = one
    point = operating_point(data.labels, scores, threshold)
    return {
        "mean_auroc_left_out": round(best.auroc, 4),
        "stability": round(best.stability, 4),
        "tpr": round(point.tpr, 4),
        "fpr": round(point.fpr, 4),
        "sets": sets,
    }


def _with_quality(profile: Profile, quality: dict[str, Any]) -> Profile:
    return replace(profile, quality=quality)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
