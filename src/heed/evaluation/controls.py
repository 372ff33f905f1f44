"""What a detector must beat: the length of the text, its characters, and chance.

A detector that is no better than these has learned what they know.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from heed.evaluation.estimate import Estimate
from heed.evaluation.judged import Judged
from heed.extras import require
from heed.measure import auroc

FOLDS = 5
_LONGEST = 20_000
"""Characters of a text that the TF-IDF control reads."""
_SHUFFLES = 200


@dataclass(frozen=True, slots=True)
class Controls:
    """AUROC, in [0, 1], of detectors that read no attention, and of the guard on labels that mean nothing."""

    length: float
    """Of the data's length alone."""
    tfidf: float | None
    """Of character n-grams learned on other rows of the same data; None where a class has a single row."""
    shuffled: Estimate
    """Of the guard's own scores on shuffled labels: mean and the range that 95 of 100 shuffles stay in."""

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"length": self.length, "tfidf": self.tfidf, "shuffled": self.shuffled.record()}


def controls(judged: Judged, *, seed: int = 0) -> Controls:
    """Measure the controls on rows of both classes."""
    labels = judged.labels
    texts = [pair.data for pair in judged.pairs]
    return Controls(
        length=auroc(labels, judged.lengths),
        tfidf=tfidf_auroc(texts, labels, _families(judged), seed=seed),
        shuffled=_shuffled(labels, judged.ranks, seed=seed),
    )


def tfidf_auroc(
    texts: list[str], labels: Int[np.ndarray, " N"], families: Int[np.ndarray, " N"], *, seed: int = 0
) -> float | None:
    """AUROC of a linear support vector machine on TF-IDF of characters (2 to 4 in a row, within words).

    It is fitted on four fifths of the rows and scored on the rest, five times (less often where the rarer class has
    fewer rows); the mean of the fifths, None where no fifth has both classes. Rows of one family stay together.
    Only the first 20,000 characters of a text are read. Needs the extra ``fit`` (scikit-learn).

    Raises
    ------
    ExtraMissingError
        If scikit-learn is not installed.
    """
    folds = min(FOLDS, int((labels == 0).sum()), int((labels == 1).sum()))
    if folds < 2:
        return None
    text = require("sklearn.feature_extraction.text", extra="fit")
    selection = require("sklearn.model_selection", extra="fit")
    counter = text.HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=2**18, norm=None, alternate_sign=False
    )
    counts = counter.transform([_readable(one) for one in texts])
    machine = require("sklearn.pipeline", extra="fit").make_pipeline(
        text.TfidfTransformer(sublinear_tf=True), require("sklearn.svm", extra="fit").LinearSVC(random_state=seed)
    )
    split = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    areas = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a control that did not converge to the last digit is still one
        for own, other in split.split(counts, labels, families):
            if len(set(labels[own])) == len(set(labels[other])) == 2:
                scores = machine.fit(counts[own], labels[own]).decision_function(counts[other])
                areas.append(auroc(labels[other], scores))
    return float(np.mean(areas)) if areas else None


def _families(judged: Judged) -> Int[np.ndarray, " N"]:
    """A number for each instruction, and for each row without one; for each row where instructions are too few.

    A text and its injected twin share their instruction, and a machine that knew one would take the other for it.
    """
    places: dict[str | int, int] = {}
    rows = [place if pair.instruction is None else pair.instruction for place, pair in enumerate(judged.pairs)]
    found = np.array([places.setdefault(row, len(places)) for row in rows])
    return found if len(places) > 2 * FOLDS else np.arange(len(rows))


def _readable(text: str) -> str:
    return text[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


def _shuffled(labels: Int[np.ndarray, " N"], scores: Float[np.ndarray, " N"], *, seed: int) -> Estimate:
    rng = np.random.default_rng(seed)
    found = np.array([auroc(rng.permutation(labels), scores) for _ in range(_SHUFFLES)])
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(float(found.mean()), float(low), float(high))
