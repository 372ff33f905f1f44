"""Choose heads by the margin rule: few heads of equal weight, as the Attention Tracker has them.

One pass over each pair keeps the masses of all heads; everything after that is arithmetic on them. Each candidate
(how strict a margin, how many layers) is judged on data sets it was not chosen on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError, SpanNotFoundError, TextError
from heed.guard.calibrating import calibrate
from heed.guard.calibration import Calibration, Calibrations
from heed.guard.data import LabelledPair, data_hash
from heed.guard.prompt import NEUTRAL_INSTRUCTION, encode_pair, spans_of
from heed.guard.quality import labelled, quality
from heed.measure.ranking import auroc
from heed.model import Model
from heed.probe import LastRowMass, read
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.profile import Baseline, Profile
from heed.profile.fit import Labelled, left_out, margin, mean_auroc, stability
from heed.reduce.contrast import AGGREGATIONS, Aggregation
from heed.text.encode import Encoded

MARGINS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
ENOUGH = 0.01
"""Of two candidates whose AUROC differs by less than this, the one that needs fewer layers is taken."""
FEWEST = 10
"""Rows of each class that a threshold needs."""
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of choosing heads, and how heads chosen that way did on data sets they were not chosen on.

    The way itself is picked by this figure, which makes the winner's slightly optimistic.
    """

    depth: int
    baseline: Baseline
    k: float
    heads: int
    auroc: float
    """Of all rows together: how well one threshold could serve all data sets."""
    auroc_within: float
    """Mean over the data sets."""
    stability: float


def fit_heads(
    model: Model,
    wanted: Sequence[LabelledPair],
    *,
    fpr: float,
    depth: int | None,
    aggregation: Aggregation,
    longest: int,
    stable: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Profile, Calibrations, int]:
    """Heads by the margin rule, their thresholds, and how many rows could be read; see `heed.guard.fit.fit`.

    ``stable`` chooses the margin by how alike the heads are on rows drawn again, else by the AUROC of left-out sets.
    """
    pairs, encoded = _encode(model, wanted, longest)
    given = np.array([pair.instruction is not None for pair in pairs], dtype=bool)
    _refuse_too_few(np.array([pair.label for pair in pairs])[given])
    names = [f"{pair.id!r} of {pair.group}" for pair in pairs]
    masses = read_masses(model, encoded, depth=depth, names=names, progress=progress)
    data = labelled(pairs, AGGREGATIONS[aggregation](masses[..., 0], masses[..., 1]))
    choosing = data.rows(given)
    candidates = _candidates(choosing, (depth,) if depth else _depths(model.anatomy.layers), _baselines(model))
    best = max(candidates, key=lambda one: (one.stability, one.auroc)) if stable else _best(candidates)
    profile = _profile(model, choosing, aggregation, best, data_hash(pairs))
    layers = list(profile.layers)
    scores = profile.score(masses[:, layers][..., 0], masses[:, layers][..., 1])
    calibrations = _calibrations(profile, scores, data.labels, given, fpr=fpr)
    measured = quality(pairs, data.layers(best.depth), best, scores, calibrations)
    return replace(profile, quality=measured), calibrations, len(pairs)


def read_masses(
    model: Model,
    encoded: Sequence[Encoded],
    *,
    depth: int | None = None,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "N L H 2"]:
    """Mass of the last prompt token on instruction and data, for every head of the first ``depth`` layers.

    Layers without softmax attention are zero. ``names`` are what errors call the rows; None: by number, from 1.

    Raises
    ------
    InputError
        If the attention of a row is not finite.
    """
    depth = model.anatomy.layers if depth is None else depth
    layers = [key for key in layers_of(model).keys if key.index < depth]
    found = np.zeros((len(encoded), depth, model.anatomy.heads, 2), dtype=np.float32)
    order = np.argsort([len(prompt) for prompt in encoded], kind="stable")
    total, done = sum(map(len, encoded)), 0
    batch: list[int] = []
    for place, index in enumerate(order):
        batch.append(int(index))
        following = len(encoded[order[place + 1]]) if place + 1 < len(order) else None
        if following is not None and (len(batch) + 1) * following <= _BATCH_TOKENS:
            continue
        prompts = [encoded[item] for item in batch]
        reading = read(model, prompts, {"mass": LastRowMass()}, layers=layers, spans=[spans_of(p) for p in prompts])
        if not reading.finite.all():
            wrong = batch[int(np.argmin(reading.finite))]
            raise InputError(
                f"expected finite attention, found NaN or infinity in row {names[wrong] if names else wrong + 1}: "
                "weights or dtype overflow"
            )
        found[np.ix_(batch, [key.index for key in layers])] = reading.stack("mass")
        done += sum(map(len, prompts))
        batch = []
        if progress is not None:
            progress(done, total)
    return found


def _encode(model: Model, pairs: Sequence[LabelledPair], longest: int) -> tuple[list[LabelledPair], list[Encoded]]:
    kept, encoded = [], []
    longest = min(longest, model.context or longest)
    for pair in pairs:
        try:
            instruction = NEUTRAL_INSTRUCTION if pair.instruction is None else pair.instruction
            prompt = encode_pair(instruction, pair.data, tokenizer_of(model))
            spans_of(prompt)
        except (SpanNotFoundError, TextError):
            continue
        if len(prompt) <= longest:
            kept.append(pair)
            encoded.append(prompt)
    return kept, encoded


def _depths(layers: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(layers * share)) for share in (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)}))


def _baselines(model: Model) -> tuple[Baseline, ...]:
    """All heads can be a baseline only where every layer has some."""
    whole = len(model.anatomy.attention_layers) == model.anatomy.layers
    return get_args(Baseline) if whole else ("none",)


def _refuse_too_few(labels: Int[np.ndarray, " N"]) -> None:
    fewest = min(int((labels == 0).sum()), int((labels == 1).sum()))
    if fewest < FEWEST:
        raise InputError(
            f"expected at least {FEWEST} benign and {FEWEST} injected rows with an instruction, "
            f"found {fewest} of one kind: heads are chosen by how attention leaves an instruction; add such rows"
        )


def _candidates(data: Labelled, depths: Sequence[int], baselines: Sequence[Baseline]) -> tuple[Candidate, ...]:
    found = []
    for depth, baseline in product(depths, baselines):
        shallow = data.layers(depth)
        for k in MARGINS:
            choose = margin(k, baseline=baseline)
            heads = int((choose(shallow) != 0).sum())
            scores = left_out(shallow, choose, baseline=baseline)
            pooled, within = auroc(data.labels, scores), mean_auroc(shallow, scores)
            found.append(Candidate(depth, baseline, k, heads, pooled, within, stability(shallow, choose)))
            if heads == 1:
                break
    return tuple(found)


def _best(candidates: Sequence[Candidate]) -> Candidate:
    """The shallowest of those that are nearly as good as the best; among these the most stable choice of heads."""
    top = max(candidate.auroc for candidate in candidates)
    near = [candidate for candidate in candidates if candidate.auroc >= top - ENOUGH]
    shallowest = min(candidate.depth for candidate in near)
    return max((one for one in near if one.depth == shallowest), key=lambda one: (one.stability, one.auroc))


def _profile(model: Model, data: Labelled, aggregation: Aggregation, best: Candidate, digest: str) -> Profile:
    weights = margin(best.k, baseline=best.baseline)(data.layers(best.depth))
    heads = np.argwhere(weights != 0)
    return Profile(
        task="guard",
        model=model.name,
        n_layers=model.anatomy.layers,
        n_heads=model.anatomy.heads,
        heads=heads,
        weights=weights[heads[:, 0], heads[:, 1]],
        aggregation=aggregation,
        baseline=best.baseline,
        source="fitted by `heed guard fit`",
        method=f"margin, k = {best.k}, depth {best.depth}",
        fingerprints=(model.fingerprint,),
        data_hash=digest,
    )


def _calibrations(
    profile: Profile, scores: Float[np.ndarray, " N"], labels: Int[np.ndarray, " N"], given: np.ndarray, *, fpr: float
) -> Calibrations:
    """One threshold for texts with an instruction, another for texts without one, where there are enough of these."""

    def one(rows: np.ndarray) -> Calibration:
        made_for = f"{profile.digest}/first"
        return calibrate(scores[rows], labels[rows], fpr=fpr, made_for=made_for, data_hash=profile.data_hash)

    rest = labels[~given]
    enough = min((rest == 0).sum(), (rest == 1).sum()) >= FEWEST
    return Calibrations(one(given), one(~given) if enough else None)
