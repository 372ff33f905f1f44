"""Figures for papers, drawn by Matplotlib (the extra ``figures``).

Comes in: a scene, or judged rows. Goes out: a Matplotlib figure that no state holds on to, so that it goes away with
its last name. Texts of tokens are never taken for mathematics or TeX.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float

from heed.errors import InputError
from heed.extras import require
from heed.measure import auroc, roc_curve
from heed.picture.overview import overview
from heed.picture.visible import spelled
from heed.text.attention import MEAN, AttentionScene
from heed.text.evidence import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureKind = Literal["map", "heads", "entropy", "focus", "flow", "evidence", "roc"]
"""Heat map, head grid, entropy per layer, distribution of focus, mass between spans, marked words, ROC curve."""

_LABELLED = 48
"""Most tokens that are written along an axis."""
_BARS = 16
_FAINTEST = 0.05
"""The scale of a map ends at what lies beside the first token, but not below this share of its heaviest weight."""
_STYLE = {"text.usetex": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


class Scored(Protocol):
    """Rows with labels (1 attack, 0 benign), what ranks them, and risks in [0, 1], each ``[N]``."""

    @property
    def labels(self) -> np.ndarray:
        """1 for an attack, 0 for a benign row."""
        ...

    @property
    def ranks(self) -> np.ndarray:
        """What rankings are measured on; higher is worse."""
        ...

    @property
    def scores(self) -> np.ndarray:
        """Risks; NaN where there is none."""
        ...


Pictured = AttentionScene | Scene | Scored


def draw(result: Pictured, *, kind: FigureKind | None = None) -> "Figure":
    """A figure of a scene or of judged rows.

    Parameters
    ----------
    kind
        By default ``map`` of maps, ``evidence`` of marked texts, ``roc`` of judged rows.

    Raises
    ------
    InputError
        If there is no such kind, or not of this.
    ExtraMissingError
        If Matplotlib is not installed.
    """
    ways: Mapping[str, Callable[[Any, Axes], None]]
    if isinstance(result, AttentionScene):
        ways = {"map": _map, "heads": _heads, "entropy": _entropy, "focus": _focus, "flow": _flow}
    elif isinstance(result, Scene):
        ways = {"evidence": _evidence} if result.heads is None else {"evidence": _evidence, "heads": _grid}
    else:
        ways = {"roc": _roc, "focus": _scores}
    kind = kind or next(iter(ways))  # type: ignore[arg-type]
    if kind not in get_args(FigureKind) or kind not in ways:
        raise InputError(f"expected one of {', '.join(ways)} for this, found {kind!r}")
    base = require("matplotlib.figure", extra="figures").Figure
    with _style():
        figure: Figure = _own(base)(figsize=(6.4, 4.8), dpi=150, layout="constrained")
        ways[kind](result, figure.add_subplot())
        if isinstance(result, AttentionScene) and result.watermark:
            _stamp(figure, result.watermark)
    return figure


def image(figure: "Figure", form: str) -> bytes:
    """The figure as a file's bytes; an SVG holds neither a date nor random names."""
    file = io.BytesIO()
    matplotlib = require("matplotlib", extra="figures")
    with matplotlib.rc_context({"svg.hashsalt": "heed"}):
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)
    return file.getvalue()


@cache
def _own(base: "type[Figure]") -> "type[Figure]":
    """Figures that a notebook shows though pyplot does not know them."""

    class Drawn(base):  # type: ignore[misc, valid-type] # the class of an optional library
        """A figure that shows itself."""

        def _repr_png_(self) -> bytes:
            return image(self, "png")

    return Drawn


@contextmanager
def _style() -> Iterator[None]:
    matplotlib = require("matplotlib", extra="figures")
    with matplotlib.rc_context(_STYLE):
        yield


def _map(scene: AttentionScene, axes: "Axes") -> None:
    view = overview(scene)
    others = np.delete(view.values, [sink // view.side for sink in scene.sinks], axis=1)
    whole = float(np.nanmax(view.values))
    highest = max(float(np.nanmax(others)), _FAINTEST * whole) if np.isfinite(others).any() else whole
    beyond = whole > highest
    image = axes.imshow(view.values, cmap="cividis", vmin=0.0, vmax=highest, interpolation="nearest", aspect="auto")
    bar = axes.figure.colorbar(image, ax=axes, extend="max" if beyond else "neither")
    said = f"attention ({view.says})" + ("; the first token lies beyond the scale" if beyond else "")
    _text(bar.ax.set_ylabel(said))
    where = "mean of heads" if scene.head == MEAN else f"head {scene.head}"
    _text(axes.set_title(_shown(f"{scene.title}: layer {scene.open_layer}, {where}", 72)))
    _text(axes.set_xlabel("key"))
    _text(axes.set_ylabel("row"))
    if view.side == 1 and max(view.values.shape) <= _LABELLED:
        _ticks(axes, "x", scene.tokens)
        _ticks(axes, "y", scene.rows)
    else:
        _positions(axes, view.side)


def _heads(scene: AttentionScene, axes: "Axes") -> None:
    found = next((one for one in scene.statistics if one.unit == "share"), None)
    if found is None:
        raise InputError("expected a statistic of every head, found none in this picture: show a trace")
    _cells(axes, found.values, f"{found.label}. {found.help}")
    axes.set_yticks(range(0, len(found.layers), _step(len(found.layers))))
    axes.set_yticklabels([str(layer) for layer in found.layers[:: _step(len(found.layers))]])


def _grid(scene: Scene, axes: "Axes") -> None:
    assert scene.heads is not None
    _cells(axes, scene.heads.values, f"{scene.heads.title}. 0: {scene.heads.low}; 1: {scene.heads.high}")


def _cells(axes: "Axes", values: Float[np.ndarray, "L H"], title: str) -> None:
    image = axes.imshow(values, cmap="cividis", vmin=0.0, vmax=1.0, interpolation="nearest", aspect="auto")
    axes.figure.colorbar(image, ax=axes)
    _text(axes.set_title(_shown(title, 96), fontsize=8))
    _text(axes.set_xlabel("head"))
    _text(axes.set_ylabel("layer"))


def _entropy(scene: AttentionScene, axes: "Axes") -> None:
    found = next((one for one in scene.statistics if one.key == "entropy"), None)
    if found is None:
        raise InputError("expected the entropy of every head, found none in this picture: show a trace")
    means = found.values.mean(1)
    bars = axes.bar([str(layer) for layer in found.layers], means, color="#3b496c")
    turned = 90 if len(means) > 12 else 0
    axes.bar_label(bars, fmt="%.2f", fontsize=6, rotation=turned, label_type="center", color="white")
    for at, values in enumerate(found.values):
        axes.plot([at] * len(values), values, ".", color="#c3b369", markersize=2.5)
    axes.margins(y=0.12)
    _text(axes.set_title("Entropy of rows per layer (bars: mean of heads; dots: heads)"))
    _text(axes.set_xlabel("layer"))
    _text(axes.set_ylabel("nats"))
    axes.set_xticks(range(0, len(means), _step(len(means))))


def _focus(scene: AttentionScene, axes: "Axes") -> None:
    """How much of a row lies on its heaviest token, over the rows of the open layer and head."""
    heaviest = [
        np.nanmax(scene.maps.weights(scene.open_layer, scene.head, slice(at, at + 1), slice(0, len(scene.tokens))))
        for at in np.unique(np.linspace(0, scene.n_rows - 1, min(256, scene.n_rows)).round().astype(int))
    ]
    _histogram(axes, {"rows": np.array(heaviest)})
    said = f"{len(heaviest):,} of {scene.n_rows:,} rows of layer {scene.open_layer}"
    _text(axes.set_title(f"Focus: attention on the heaviest token of each row ({said})", fontsize=9))
    _text(axes.set_xlabel("weight of the heaviest token"))


def _scores(judged: Scored, axes: "Axes") -> None:
    known = np.isfinite(judged.scores)
    groups = {name: judged.scores[known & (judged.labels == label)] for label, name in enumerate(("benign", "attacks"))}
    _histogram(axes, groups)
    _text(axes.set_title(f"Risk of {int(known.sum()):,} judged rows"))
    _text(axes.set_xlabel("risk"))
    axes.legend(frameon=False, loc="upper center")


def _histogram(axes: "Axes", groups: dict[str, np.ndarray]) -> None:
    """Shares of each group in twenty bins of [0, 1], side by side, with their numbers on them."""
    colours = ("#3b496c", "#c3802f")
    width = 0.05 / len(groups)
    for place, (name, values) in enumerate(groups.items()):
        shares = np.histogram(values, 20, (0.0, 1.0))[0] / max(1, len(values))
        lefts = np.arange(20) * 0.05 + place * width
        bars = axes.bar(
            lefts, shares, width, align="edge", color=colours[place], label=name, hatch="//" if place else None
        )
        axes.bar_label(bars, [f"{share:.0%}" if share >= 0.005 else "" for share in shares], fontsize=6, padding=1)
    axes.set_xlim(0, 1)
    _text(axes.set_ylabel("share"))


def _flow(scene: AttentionScene, axes: "Axes") -> None:
    flow = scene.flow
    if flow is None:
        raise InputError("expected named spans (system, data, answer), found none in this picture: trace messages")
    last = next((a for a in reversed(range(len(flow.names))) if np.isfinite(flow.mass[:, :, a]).any()), 0)
    mass = flow.mass[:, :, last].mean(1)
    bottom = np.zeros(len(flow.layers))
    for at, name in enumerate(flow.names):
        bars = axes.bar([str(layer) for layer in flow.layers], mass[:, at], bottom=bottom, label=_shown(name, 24))
        labels = [f"{share:.0%}" if share >= 0.08 and len(flow.layers) <= 16 else "" for share in mass[:, at]]
        axes.bar_label(bars, labels, label_type="center", fontsize=6)
        bottom = bottom + np.nan_to_num(mass[:, at])
    read = "all" if flow.rows_read == flow.rows else f"{flow.rows_read:,} of {flow.rows:,}"
    _text(axes.set_title(_shown(f"Where {flow.names[last]!r} looks, mean of heads, {read} rows", 72)))
    _text(axes.set_xlabel("layer"))
    _text(axes.set_ylabel("attention"))
    axes.set_xticks(range(0, len(flow.layers), _step(len(flow.layers))))
    for text in axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1)).get_texts():
        _text(text)


def _evidence(scene: Scene, axes: "Axes") -> None:
    marked = [
        (span.weight, word)
        for passage in scene.passages
        for span, word in zip(passage.evidence.spans, passage.evidence.words(), strict=True)
    ]
    chosen = sorted(marked, key=lambda pair: -pair[0])[:_BARS][::-1]
    bars = axes.barh(range(len(chosen)), [weight for weight, _ in chosen], color="#3b496c")
    axes.bar_label(bars, [f"{weight:.1%}" for weight, _ in chosen], padding=2, fontsize=7)
    axes.set_yticks(range(len(chosen)))
    for tick in axes.set_yticklabels([_shown(word, 40) for _, word in chosen]):
        _text(tick)
    axes.margins(x=0.12)
    risk = "" if scene.risk is None else f" (risk {scene.risk[0]:.2f})"
    _text(axes.set_title(_shown(f"{scene.headline}{risk}", 72)))
    _text(axes.set_xlabel(_shown(next((p.marks_name for p in scene.passages if p.marks_name), "share"), 60)))
    if not chosen:
        axes.text(0.5, 0.5, "nothing is marked", ha="center", va="center", transform=axes.transAxes)


def _roc(judged: Scored, axes: "Axes") -> None:
    fpr, tpr = roc_curve(judged.labels, judged.ranks)
    area = auroc(judged.labels, judged.ranks)
    axes.plot([0, 1], [0, 1], "--", color="#a5afc0", linewidth=1, label="chance")
    axes.step(fpr, tpr, where="post", color="#3b496c", label=f"AUROC {area:.3f}")
    axes.set_aspect("equal")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    counts = f"{int((judged.labels == 1).sum()):,} attacks, {int((judged.labels == 0).sum()):,} benign rows"
    _text(axes.set_title(f"ROC curve ({counts})"))
    _text(axes.set_xlabel("benign rows flagged"))
    _text(axes.set_ylabel("attacks flagged"))
    axes.legend(frameon=False, loc="lower right")


def _ticks(axes: "Axes", axis: Literal["x", "y"], tokens: tuple[str, ...]) -> None:
    size = 8 if len(tokens) <= 24 else 5.5
    shown = [_shown(token, 14) for token in tokens]
    if axis == "x":
        axes.set_xticks(range(len(shown)))
        labels = axes.set_xticklabels(shown, rotation=90, fontsize=size)
    else:
        axes.set_yticks(range(len(shown)))
        labels = axes.set_yticklabels(shown, fontsize=size)
    for label in labels:
        _text(label)


def _positions(axes: "Axes", side: int) -> None:
    """Ticks in tokens where a cell holds several."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value * side):,}"))


def _step(count: int) -> int:
    return 1 if count <= 16 else 4 if count <= 48 else 8


def _stamp(figure: "Figure", watermark: str) -> None:
    size = min(48, 960 / len(watermark))
    text = figure.text(0.5, 0.5, watermark, fontsize=size, color="#d92d20", alpha=0.5, rotation=30, zorder=9)
    text.set_horizontalalignment("center")
    text.set_verticalalignment("center")
    _text(text)


def _text(text: Any) -> None:
    """Take a text as it is: dollars and carets are no mathematics."""
    text.set_parse_math(False)


def _shown(text: str, width: int) -> str:
    """A text that the font can draw, on one line, cut to a width; □ stands for what the font does not have."""
    from matplotlib.font_manager import FontProperties, findfont

    flat = " ".join(spelled(text).split()) or "␣"
    held = _characters(findfont(FontProperties()))
    drawn = "".join(char if ord(char) in held else "□" for char in flat)
    return drawn if len(drawn) <= width else drawn[: width - 1] + "…"


@cache
def _characters(font: str) -> frozenset[int]:
    """The characters of a font's file, by their numbers."""
    from matplotlib.font_manager import get_font

    return frozenset(get_font(font).get_charmap())
