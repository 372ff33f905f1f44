"""Learned weights on all heads for any model: windows are read once, everything after that is arithmetic on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float

from heed.errors import InputError, SpanNotFoundError, TextError
from heed.guard.calibrating import calibrate
from heed.guard.calibration import Calibrations
from heed.guard.data import LabelledPair, data_hash
from heed.guard.empirical import allowed
from heed.guard.learn import MOST_BENIGN, WINDOW, Learned, Windows, learn, scale, window_label
from heed.guard.listening import listen
from heed.guard.prompt import NEUTRAL_INSTRUCTION, encode_pair, parts_of, query_rows
from heed.guard.quality import set_quality
from heed.measure.ranking import auroc
from heed.model import Model
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.profile import LearnedProfile
from heed.profile.learned import POOLS
from heed.text.encode import Encoded
from heed.text.windows import windows

QUESTION = "Is there any instruction or request in the data above? The task to do now is:"
"""Follows the data: what the model looks back for is what the guard wants to know (LOG.md)."""
ENOUGH = 0.01
"""Of two depths whose AUROC differs by less, the shallower is taken."""
_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BATCH_TOKENS = 4096
THRESHOLD = 0.5
"""Risks are scaled so that this one threshold serves texts with and without an instruction."""


def fit_weights(
    model: Model,
    pairs: Sequence[LabelledPair],
    *,
    fpr: float,
    depth: int | None,
    longest: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LearnedProfile, Calibrations, int]:
    """A profile, its thresholds, and how many rows could be read; see `heed.guard.fit.fit`.

    Raises
    ------
    InputError
        If nothing can be learned from the rows.
    """
    deepest = depth or model.anatomy.layers
    data = read_windows(model, pairs, depth=deepest, longest=longest, progress=progress)
    depths = [depth] if depth else sorted({max(1, round(deepest * share)) for share in _SHARES})
    return *weigh(model, data, depths, fpr={"given": fpr, "neutral": fpr}, pooled=True), len(data.pairs)


def weigh(
    model: Model, data: Windows, depths: Sequence[int], *, fpr: Mapping[str, float], pooled: bool
) -> tuple[LearnedProfile, Calibrations]:
    """The best weights on windows that are read: at the shallowest of the depths that is nearly as good as any.

    ``fpr`` says for each kind of prompt which share of benign texts may be flagged, ``pooled`` whether the pools of the
    data's own tokens are weighed beside the query rows.

    Raises
    ------
    InputError
        If nothing can be learned from the rows.
    """
    data = data if pooled else replace(data, features=data.features[:, : len(data.rows)])
    kinds = {"given": True} | ({"neutral": False} if _has_neutral(data) else {})
    tried = {kind: learn(data, depths, given=given) for kind, given in kinds.items()}
    chosen = _depth(tried)
    best = {kind: next(one for one in found if one.depth == chosen) for kind, found in tried.items()}
    profile = _profile(model, data, best, kinds, fpr=fpr)
    risks = _risks(profile, data, best, kinds, fpr=fpr)
    calibrations = _calibrations(profile, data, risks, kinds, fpr=fpr)
    return replace(profile, quality=_quality(data, risks, tried, chosen)), calibrations


def read_windows(
    model: Model,
    pairs: Sequence[LabelledPair],
    *,
    depth: int,
    longest: int,
    rows: tuple[int, ...] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Windows:
    """What is heard of the windows of all pairs that can be read: rows counted from the prompt's end, and pools.

    ``rows`` are by default the `query_rows` of the first prompt.
    """
    kept, texts, labels, encoded = _prepare(model, pairs, longest)
    if not encoded:
        raise InputError("expected rows that can be read, found none: every one is empty or longer than the limit")
    rows = query_rows(encoded[0]) if rows is None else rows
    layers = [key for key in layers_of(model).keys if key.index < depth]
    if len(layers) < depth:
        raise InputError(
            f"expected softmax attention in the first {depth} layers of {model.name}, found it in {len(layers)}: "
            "use --method margin"
        )
    features = np.zeros((len(encoded), len(rows) + len(POOLS), depth, model.anatomy.heads, 4), dtype=np.float32)
    total, done = sum(map(len, encoded)), 0
    for batch in _batches(encoded):
        prompts = [encoded[item] for item in batch]
        for item, listened in zip(batch, listen(model, prompts, rows, layers, pooled=True), strict=True):
            if not listened.finite:
                name = kept[texts[item]].id
                raise InputError(
                    f"expected finite attention, found NaN or infinity in row {name!r}: weights or dtype overflow"
                )
            features[item] = listened.logs
        done += sum(map(len, prompts))
        if progress is not None:
            progress(done, total)
    return Windows(kept, np.array(texts), np.array(labels), rows, features)


def _prepare(
    model: Model, pairs: Sequence[LabelledPair], longest: int
) -> tuple[list[LabelledPair], list[int], list[int], list[Encoded]]:
    kept: list[LabelledPair] = []
    texts: list[int] = []
    labels: list[int] = []
    encoded: list[Encoded] = []
    rng = np.random.default_rng(0)
    for pair in pairs:
        instruction = NEUTRAL_INSTRUCTION if pair.instruction is None else pair.instruction
        spans = windows(pair.data, size=WINDOW)
        own = [window_label(pair, span, len(spans)) for span in spans]
        others = [place for place, label in enumerate(own) if label == 0]
        dropped = set(rng.permutation(others)[MOST_BENIGN[pair.label] :].tolist())
        found = []
        try:
            for place, span in enumerate(spans):
                if place not in dropped:
                    prompt = encode_pair(instruction, pair.data[span.slice()], tokenizer_of(model), question=QUESTION)
                    parts_of(prompt)
                    found.append((own[place], prompt))
        except (SpanNotFoundError, TextError):
            continue
        if found and max(len(prompt) for _, prompt in found) <= min(longest, model.context or longest):
            texts += [len(kept)] * len(found)
            labels += [label for label, _ in found]
            encoded += [prompt for _, prompt in found]
            kept.append(pair)
    return kept, texts, labels, encoded


def _batches(encoded: Sequence[Encoded]) -> list[list[int]]:
    """Prompts of like length together."""
    order = np.argsort([len(prompt) for prompt in encoded], kind="stable")
    found: list[list[int]] = [[]]
    for item in map(int, order):
        if found[-1] and (len(found[-1]) + 1) * len(encoded[item]) > _BATCH_TOKENS:
            found.append([])
        found[-1].append(item)
    return found


def _has_neutral(data: Windows) -> bool:
    neutral = ~data.given
    enough = len(np.unique(data.families[neutral])) > 1 and len(np.unique(data.truth[neutral])) > 1
    return bool(neutral.any() and enough)


def _depth(tried: dict[str, list[Learned]]) -> int:
    """The shallowest depth that is nearly as good as the best, for all kinds together."""
    values = {one.depth: 0.0 for found in tried.values() for one in found}
    for found in tried.values():
        for one in found:
            values[one.depth] += one.auroc / len(tried)
    return min(depth for depth, value in values.items() if value >= max(values.values()) - ENOUGH)


def _profile(
    model: Model, data: Windows, best: dict[str, Learned], kinds: dict[str, bool], *, fpr: Mapping[str, float]
) -> LearnedProfile:
    shape = data.features.shape[1:]
    weights: dict[str, Float[np.ndarray, "R L H 4"]] = {}
    bias: dict[str, float] = {}
    price: float | None = None
    for kind, given in kinds.items():
        slope, shift, price = scale(best[kind], data, fpr=fpr[kind], given=given, price=price)
        depth = best[kind].depth
        weights[kind] = (slope * best[kind].linear.weights).reshape(shape)[:, :depth].astype(np.float32)
        bias[kind] = slope * best[kind].linear.bias + shift
    one = best["given"]
    return LearnedProfile(
        task="guard",
        model=model.name,
        n_layers=model.anatomy.layers,
        n_heads=model.anatomy.heads,
        rows=data.rows,
        weights=weights,
        bias=bias,
        window=WINDOW,
        question=QUESTION,
        pooled=shape[0] > len(data.rows),
        search_cost=price or 0.0,
        source="fitted by `heed guard fit`",
        method=f"linear, depth {one.depth}, " + ", ".join(f"{k}: penalty {b.strength}" for k, b in best.items()),
        fingerprints=(model.fingerprint,),
        data_hash=data_hash(data.pairs),
    )


def _risks(
    profile: LearnedProfile,
    data: Windows,
    best: dict[str, Learned],
    kinds: dict[str, bool],
    *,
    fpr: Mapping[str, float],
) -> Float[np.ndarray, " P"]:
    """The risk of each text under weights that were learned without its family; NaN where there are none."""
    searched = np.log(data.searched)
    found = np.full(len(data.pairs), np.nan)
    for kind, given in kinds.items():
        slope, shift, _ = scale(best[kind], data, fpr=fpr[kind], given=given, price=profile.search_cost)
        own = data.given == given
        odds = slope * best[kind].worst[own] + shift - profile.search_cost * searched[own]
        found[own] = 0.5 + 0.5 * np.tanh(odds / 2.0)
    return found


def _calibrations(
    profile: LearnedProfile,
    data: Windows,
    risks: Float[np.ndarray, " P"],
    kinds: dict[str, bool],
    *,
    fpr: Mapping[str, float],
) -> Calibrations:
    made = Calibrations()
    for kind, given in kinds.items():
        own = data.given == given
        one = calibrate(
            risks[own],
            data.truth[own],
            fpr=fpr[kind],
            made_for=f"{profile.digest}/first",
            data_hash=profile.data_hash,
            threshold=THRESHOLD,
        )
        notes = (*_scale_notes(int((data.truth[own] == 0).sum()), fpr[kind]), *one.notes)
        made = made.put(replace(one, notes=notes), given=given)
    return made


def _scale_notes(benign: int, fpr: float) -> Iterator[str]:
    """What is not so with the place of `THRESHOLD` (see `heed.guard.learn.scale`)."""
    if allowed(fpr, benign) < 1:
        yield (
            f"{fpr:.1%} of {benign} benign rows is less than one row: the threshold lies where the highest of them "
            f"begins to be flagged; give {ceil(1 / fpr)} benign rows or more, or ask for a larger share"
        )


def _quality(
    data: Windows, risks: Float[np.ndarray, " P"], tried: dict[str, list[Learned]], depth: int
) -> dict[str, Any]:
    """By set: AUROC and rates of left-out texts, and the AUROC of length alone; by depth: pooled AUROC."""
    known = ~np.isnan(risks)
    lengths = np.array([len(pair.data) for pair in data.pairs], dtype=np.float64)
    groups = np.array([pair.group for pair in data.pairs])
    given = known & data.given
    flagged = risks >= THRESHOLD
    return {
        "auroc_left_out": round(auroc(data.truth[given], risks[given]), 4),
        "auroc_length": round(auroc(data.truth[given], lengths[given]), 4),
        "tpr": round(float(flagged[given & (data.truth == 1)].mean()), 4),
        "fpr": round(float(flagged[given & (data.truth == 0)].mean()), 4),
        "depths": {kind: {str(one.depth): round(one.auroc, 4) for one in found} for kind, found in tried.items()},
        "depth": depth,
        "sets": {
            str(group): set_quality(data.truth[own], risks[own], lengths[own], flagged[own])
            for group in np.unique(groups)
            for own in [known & (groups == group)]
            if own.any()
        },
    }
