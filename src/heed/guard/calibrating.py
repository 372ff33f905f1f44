"""Make a calibration: labelled risks, or pairs that a guard judges first, come in; a `Calibration` goes out.

What the rows cannot show, or what they contradict, stands in its notes; nothing is promised in silence. A text that
could not be judged counts as an alarm if benign and as a miss if an attack.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError
from heed.guard.calibration import Calibration, review_from
from heed.guard.empirical import Empirical, Floats, check_risks
from heed.guard.probability import Curve, fit_probability
from heed.guard.threshold import NOTHING, Method, choose_threshold
from heed.guard.verdict import Verdict
from heed.measure.arrays import check_labels, check_share
from heed.measure.calibration import Platt
from heed.measure.interval import binomial_interval
from heed.measure.ranking import auroc, auroc_interval

TextPair = tuple[str | None, str]
"""Instruction (None: a neutral one stands in) and data."""

FEWEST = 2
"""Benign rows that a threshold needs; far more are needed to show a rate (`Calibration.rows_needed`)."""


def calibrate(
    scores: Float[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    *,
    fpr: float = 0.01,
    method: Method = "fpr",
    curve: Curve = "auto",
    made_for: str,
    data_hash: str = "",
    abstained: tuple[int, int] = (0, 0),
    threshold: float | None = None,
) -> Calibration:
    """Choose a threshold and a review band from risks, and fit the probability where there are attacks.

    Needs the extra ``fit`` (scipy).

    Parameters
    ----------
    scores, labels
        Risks in [0, 1]; 0 is benign, 1 an attack. Without attacks there is no probability.
    fpr
        Share of benign texts that may be flagged.
    method
        ``fpr``: the lowest threshold that at most this share of the benign rows reaches. ``conformal``: the lowest
        whose p-values are at most ``fpr``; then a further benign text is flagged with at most this probability.
        ``percentile`` of the benign scores. ``separation`` (Youden's J) and ``midpoint`` (of the means) of two sets
        of examples, which aim at no rate. See `heed.guard.threshold` for each.
    curve
        How scores become probabilities (`fit_probability`).
    made_for
        What the scores came from (`Guard.made_for`).
    abstained
        Benign rows and attacks beside these that could not be judged.
    threshold
        Keep this one, and say what it does to the rows; None: choose one.

    Raises
    ------
    InputError
        If a label is neither 0 nor 1, a score is outside [0, 1] or NaN (names the row), there are fewer than `FEWEST`
        benign rows, all scores are equal, or the method cannot work with these rows.
    ExtraMissingError
        If scipy is not installed.
    """
    fpr = check_share(fpr, name="fpr")
    truth, risks = _checked(scores, labels)
    benign, attacks = risks[~truth], risks[truth]
    distribution = Empirical.of(benign)
    if threshold is None:
        threshold = choose_threshold(
            method, benign, attacks, fpr=fpr, distribution=distribution, abstained=abstained[0]
        )
    found = Calibration(
        threshold=threshold,
        made_for=made_for,
        target_fpr=fpr,
        attacks=attacks.size + abstained[1],
        data_hash=data_hash,
        method=method,
        caught=int((attacks >= threshold).sum()),
        **_alarms(distribution, benign, threshold, fpr=fpr, abstained=abstained[0]),
    )
    if attacks.size:
        found = replace(found, **_probability(truth.astype(np.int64), risks, curve))
    return replace(found, notes=(*_rate_notes(found, abstained), *_separation_notes(truth, risks)))


def _alarms(distribution: Empirical, benign: Floats, threshold: float, *, fpr: float, abstained: int) -> dict[str, Any]:
    """What a threshold does to the benign rows, as fields of a `Calibration`."""
    rows, alarms = benign.size + abstained, int((benign >= threshold).sum()) + abstained
    interval = binomial_interval(alarms, rows)
    return {
        "benign": rows,
        "alarms": alarms,
        "review": review_from(distribution, max(fpr, alarms / rows), threshold),
        "fpr_interval": (interval.low, interval.high),
        "distribution": distribution.bounded(),
    }


def _checked(scores: Any, labels: Any) -> tuple[np.ndarray, Floats]:
    truth, risks = check_labels(labels), check_risks(scores, name="scores")
    if truth.size != risks.size:
        raise InputError(f"expected as many scores as labels ({truth.size}), found {risks.size}: give one a row")
    benign = int((~truth).sum())
    if benign < FEWEST:
        raise InputError(_too_few(benign, truth.size))
    if np.ptp(risks) == 0:
        raise InputError(
            f"expected scores that differ, found {risks[0]:g} in every row: there is nothing to calibrate; "
            "check that the rows are different texts"
        )
    return truth, risks


def _too_few(found: int, rows: int, *more: str) -> str:
    message = (
        f"expected at least {FEWEST} benign rows that can be judged, found {found} of {rows} rows: "
        "a threshold is a statement about benign texts; add such rows"
    )
    return "; ".join((message, *more))


def _probability(labels: Int[np.ndarray, " N"], risks: Floats, curve: Curve) -> dict[str, Any]:
    fitted = fit_probability(labels, risks, curve=curve)
    if isinstance(fitted, Platt):
        return {"slope": float(fitted.slope), "intercept": float(fitted.intercept)}
    return {"knots": tuple(zip(fitted.scores, fitted.probabilities, strict=True))}


def _rate_notes(found: Calibration, abstained: tuple[int, int]) -> Iterator[str]:
    """What is not so with the false alarms that were asked for."""
    target, needed, high = found.target_fpr, found.rows_needed, (found.fpr_interval or (0.0, 1.0))[1]
    if found.threshold >= NOTHING:
        yield "this threshold flags nothing" + (
            f": a p-value of {target:g} takes at least {ceil(1 / target) - 1} benign rows"
            if found.method == "conformal" and target
            else ""
        )
    if found.fpr is not None and target is not None and found.fpr > target:
        yield (
            f"{found.alarms} of {found.benign} benign rows ({found.fpr:.1%}) are flagged or could not be judged: "
            f"more than the {target:.1%} asked for"
        )
    if needed is not None and found.benign < needed:
        yield (
            f"{found.benign} benign rows cannot show a rate of {target:.1%}: up to {high:.1%} of such texts may be "
            f"flagged (95 %); it takes {needed} rows without an alarm"
        )
    if any(abstained):
        yield (
            f"{abstained[0]} benign rows and {abstained[1]} attacks could not be judged: "
            "they count as alarms and misses"
        )


def _separation_notes(truth: np.ndarray, risks: Floats) -> Iterator[str]:
    """What is not so with attacks scoring above benign rows."""
    if truth.any() and auroc_interval(truth, risks, method="newcombe").low <= 0.5:
        yield (
            f"attacks cannot be told from benign rows with these rows (AUROC {auroc(truth, risks):.2f}, its interval "
            "holds 0.5): the probability says little"
        )


def calibrate_pairs(
    check_many: Callable[[Sequence[TextPair]], Sequence[Verdict]],
    benign: Iterable[TextPair],
    attacks: Iterable[TextPair] | None,
    *,
    made_for: str,
    fpr: float,
    method: Method,
    curve: Curve,
) -> tuple[Calibration, bool]:
    """Judge labelled pairs and calibrate on their risks; also says whether they have an instruction.

    Raises
    ------
    InputError
        As `calibrate`; or if a row is no pair, some rows have an instruction and others none, or a text stands among
        both benign rows and attacks. Names the row, counted from 1.
    """
    kinds = _pairs(benign, "benign"), _pairs(attacks or (), "attacks")
    given = _given([*kinds[0], *kinds[1]])
    pairs, labels = [*kinds[0], *kinds[1]], np.repeat([0, 1], [len(kinds[0]), len(kinds[1])])
    repeated = _repeated(kinds)
    verdicts = check_many(pairs)
    judged = np.array([verdict.score is not None for verdict in verdicts], dtype=bool)
    unjudged = tuple(_unjudged(verdicts, len(kinds[0])))
    if (judged & (labels == 0)).sum() < FEWEST:
        raise InputError(_too_few(int((judged & (labels == 0)).sum()), len(kinds[0]), *unjudged))
    scores = np.array([verdict.score for verdict in verdicts if verdict.score is not None], dtype=np.float64)
    found = calibrate(
        scores,
        labels[judged],
        fpr=fpr,
        method=method,
        curve=curve,
        made_for=made_for,
        data_hash=hashlib.sha256(json.dumps([kinds[0], kinds[1]]).encode()).hexdigest()[:16],
        abstained=(int((~judged & (labels == 0)).sum()), int((~judged & (labels == 1)).sum())),
    )
    return replace(found, notes=(*found.notes, *repeated, *unjudged)), given


def _pairs(rows: Iterable[TextPair], name: str) -> list[TextPair]:
    pairs: list[TextPair] = []
    for number, row in enumerate(rows, 1):
        good = isinstance(row, tuple | list) and len(row) == 2
        if not good or not isinstance(row[1], str) or not (row[0] is None or isinstance(row[0], str)):
            raise InputError(
                f"expected a pair of instruction (text or None) and data (text) in row {number} of {name}, "
                f"found {type(row).__name__} {str(row)[:60]!r}"
            )
        pairs.append((row[0], row[1]))
    return pairs


def _given(pairs: Sequence[TextPair]) -> bool:
    kinds = {instruction is not None for instruction, _ in pairs}
    if len(kinds) > 1:
        raise InputError(
            "expected rows all with an instruction or all without, found both: risks lie elsewhere where a neutral "
            "instruction stands in; calibrate one kind after the other"
        )
    return kinds != {False}


def _repeated(kinds: tuple[list[TextPair], list[TextPair]]) -> tuple[str, ...]:
    """A note on rows that repeat an earlier one; a text that is both benign and an attack is refused."""
    first = {pair: number for number, pair in reversed(list(enumerate(kinds[0], 1)))}
    for number, pair in enumerate(kinds[1], 1):
        if pair in first:
            raise InputError(
                f"expected a text to be benign or an attack, found row {number} of attacks to be row {first[pair]} of "
                "benign: remove one of them"
            )
    count = sum(len(pairs) - len(set(pairs)) for pairs in kinds)
    return (f"{count} rows repeat an earlier one: the true intervals are wider than those shown",) if count else ()


def _unjudged(verdicts: Sequence[Verdict], benign: int) -> Iterator[str]:
    for place, verdict in enumerate(verdicts):
        if verdict.score is None:
            attack = place >= benign
            name, number = "attacks" if attack else "benign", place + 1 - benign * attack
            yield f"the first that could not be judged is row {number} of {name} ({verdict.status})"
            return
