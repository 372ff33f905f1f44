"""Three pictures of judged rows as SVG: the ROC curve, the calibration of the probabilities, the scores' histogram.

Each is a whole document with its own style: it follows the reader's light or dark theme, fetches nothing, says in
title and description what it shows, and tells no two things apart by colour alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from heed.evaluation.judged import Judged
from heed.measure import auroc, binomial_interval, calibration_curve, roc_curve

_LEFT, _TOP, _SIDE, _HEIGHT = 64, 16, 380, 280
_WIDTH, _WHOLE = 480, 352
_FLOOR = 1e-3
"""Smallest rate of false alarms the ROC curve shows: its axis is logarithmic, because few of them are what counts."""
_BINS = 25
_STYLE = Markup(
    "<style>.heed-chart{color-scheme:light dark;font:12px system-ui,sans-serif;--ink:#182030;--pale:#a5afc0;"
    "--one:#b42318;--two:#1c5a9f}@media(prefers-color-scheme:dark){.heed-chart{--ink:#e6ebf4;--pale:#566178;"
    "--one:#ff8f80;--two:#82b8ff}}.heed-chart text{fill:var(--ink)}.heed-chart .axis{stroke:var(--ink);fill:none}"
    ".heed-chart .guide{stroke:var(--pale);fill:none;stroke-dasharray:3 4}.heed-chart .line{stroke:var(--one);"
    "fill:none;stroke-width:2}.heed-chart .attack{fill:var(--one)}.heed-chart .benign{fill:none;stroke:var(--two);"
    "stroke-width:1.5}.heed-chart .bar{stroke:var(--one)}.heed-chart .mark{stroke:var(--ink);stroke-width:2;fill:none}"
    "</style>"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what it says."""

    title: str
    says: str
    svg: str


def roc(judged: Judged) -> Chart | None:
    """The ROC curve over a logarithmic axis, with the point the guard's own threshold sits at; None for one class."""
    labels, ranks, flagged = judged.labels, judged.ranks, judged.flagged
    if len(set(labels.tolist())) < 2:
        return None
    fpr, tpr = roc_curve(labels, ranks)
    own = (float(flagged[labels == 0].mean()), float(flagged[labels == 1].mean()))
    guides = [_line([(_log(f), f) for f in np.geomspace(_FLOOR, 1, 60)], "guide")]
    points = _thinned([(_log(f), float(t)) for f, t in zip(fpr, tpr, strict=True)])
    at = _place(_log(own[0]), own[1])
    mark = Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="6"/>').format(*at)
    said = f"AUROC {auroc(labels, ranks):.3f}. The circle is the guard's threshold: {100 * own[1]:.1f} % of attacks "
    said += f"caught at {100 * own[0]:.1f} % false alarms. Dashed: chance."
    ticks = [(_log(value), f"{100 * value:g} %") for value in (0.001, 0.01, 0.1, 1.0)]
    axes = _axes(ticks, _PERCENT, "benign rows flagged (logarithmic)", "attacks flagged")
    return _chart("ROC curve", said, [axes, *guides, _line(points, "line"), mark])


def calibration(judged: Judged) -> Chart | None:
    """Predicted against observed share of attacks in ten bins, with exact intervals; None without probabilities."""
    labels, probabilities = judged.probabilities
    if not labels.size:
        return None
    curve = calibration_curve(labels, probabilities)
    parts = [_axes(_PERCENT, _PERCENT, "probability the guard gave", "share that were attacks")]
    parts.append(_line([(0, 0), (1, 1)], "guide"))
    for predicted, observed, count in zip(curve.predicted, curve.observed, curve.count, strict=True):
        if not count:
            continue
        interval = binomial_interval(round(observed * count), int(count))
        parts.append(_line([(predicted, interval.low), (predicted, interval.high)], "bar"))
        radius = 2 + 5 * np.sqrt(count / curve.count.max())
        dot = Markup('<circle class="attack" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>')
        says = f"{count} rows: predicted {predicted:.2f}, observed {observed:.2f}"
        parts.append(dot.format(*_place(predicted, observed), radius, says))
    said = "A dot for each tenth of the probability, larger for more rows, with its 95 % interval; dashed: perfect."
    return _chart("Calibration", said, parts)


def histogram(judged: Judged) -> Chart | None:
    """How the risks of benign rows (outlined) and attacks (filled) lie; vertical lines are the guard's thresholds."""
    known = np.isfinite(judged.scores)
    scores, labels = judged.scores[known], judged.labels[known]
    if not scores.size:
        return None
    edges = np.linspace(0, 1, _BINS + 1)
    shares = [np.histogram(scores[labels == label], edges)[0] / max(1, (labels == label).sum()) for label in (0, 1)]
    highest = max(float(share.max()) for share in shares) or 1.0
    parts = [_axes(_PLAIN, [(0, "0"), (1, f"{100 * highest:.0f} %")], "risk", "share of the rows of a class")]
    for kind, share in zip(("benign", "attack"), shares, strict=True):
        parts += [_box(edges[i], edges[i + 1], value / highest, kind) for i, value in enumerate(share) if value]
    thresholds = sorted({v.threshold for v in judged.verdicts if v.threshold is not None})[:4]
    parts += [_line([(value, 0), (value, 1)], "mark") for value in thresholds if value <= 1]
    said = "Filled: attacks; outlined: benign rows. "
    said += (
        "Thresholds at " + ", ".join(f"{value:.3f}" for value in thresholds) + "." if thresholds else "No threshold."
    )
    return _chart("Scores", said, parts)


_PERCENT = [(0.0, "0"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")]
_PLAIN = [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]


def _log(rate: float) -> float:
    return float(1 - np.log(max(rate, _FLOOR)) / np.log(_FLOOR))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """As steps, without those that fall on the same pixel."""
    steps = [points[0]]
    for (_, before), (x, y) in pairwise(points):
        steps += [(x, before), (x, y)]
    return list(dict.fromkeys((round(x * _SIDE) / _SIDE, round(y * _HEIGHT) / _HEIGHT) for x, y in steps))


def _place(x: float, y: float) -> tuple[float, float]:
    return _LEFT + x * _SIDE, _TOP + (1 - y) * _HEIGHT


def _line(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    path = " ".join("{:.1f},{:.1f}".format(*_place(x, y)) for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def _box(left: float, right: float, height: float, kind: str) -> Markup:
    """Half a bin: benign rows to the left, attacks to the right."""
    middle = (left + right) / 2
    left, right = (left, middle) if kind == "benign" else (middle, right)
    (x, y), (end, ground) = _place(left, height), _place(right, 0)
    rect = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    return rect.format(kind, x, y, end - x - 1, ground - y)


def _axes(across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], below: str, beside: str) -> Markup:
    text = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    parts = [_line([(0, 1), (0, 0), (1, 0)], "axis")]
    parts += [text.format(_place(x, 0)[0], _TOP + _HEIGHT + 16, "middle", label) for x, label in across]
    parts += [text.format(_LEFT - 6, _place(0, y)[1] + 4, "end", label) for y, label in up]
    parts.append(text.format(_LEFT + _SIDE / 2, _TOP + _HEIGHT + 38, "middle", below))
    turned = Markup('<text transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>')
    parts.append(turned.format(_TOP + _HEIGHT // 2, beside))
    return Markup().join(parts)


def _chart(title: str, said: str, parts: Iterable[Markup]) -> Chart:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="heed-chart" viewBox="0 0 {_WIDTH} {_WHOLE}" role="img"'
    described = f' aria-label="{escape(f"{title}. {said}")}">'
    named = f"<title>{escape(title)}</title><desc>{escape(said)}</desc>"
    return Chart(title, said, f"{head}{described}{named}{_STYLE}{''.join(parts)}</svg>\n")
