"""A scene as one HTML page: inline style, no script, nothing fetched, light and dark.

Comes in: a `Scene`. Goes out: the page as a string. Every text goes through Jinja's escaping and
`heed.picture.visible`, so that hostile text is shown and never obeyed by the browser.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from heed.picture.blocks import LEVELS, Run, Stretch, check, joined, level, lines, percent, runs, stretches
from heed.picture.grid import MARGIN_LEFT, MARGIN_TOP, colour, layout, legend
from heed.picture.visible import clean, parts, spelled
from heed.text.evidence import HeadGrid, Passage, Scene

TONES = {"good": ("✓", "OK"), "bad": ("▲", "Alert"), "unsure": ("?", "Unsure"), "neutral": ("●", "Note")}
"""Sign and word of each tone: the tone is never told by colour alone."""

_LINE = 100
_MOST_OPEN = 8


@dataclass(frozen=True, slots=True)
class _Word:
    """A row of the table of marked words."""

    text: str
    share: str
    bar: float
    """Width in percent, relative to the heaviest mark."""
    anchor: str
    """Id of its first mark; empty where heavier marks cover it."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A passage, ready for the template."""

    label: str
    marks_name: str
    stretches: tuple[tuple[bool, int, Markup], ...]
    """Whether it is shown, how many lines it has, and its text as HTML."""
    words: tuple[_Word, ...]
    ticks: tuple[tuple[float, float, int], ...]
    """Where the marks lie in the text: start and length in percent, and level."""
    open: bool


def page(scene: Scene) -> str:
    """Draw a scene as a self-contained HTML page.

    Returns
    -------
    str
        A whole document. Its Content-Security-Policy allows inline style and nothing else; the
        text of each ``div.text`` is the passage's text, with U+FFFD for characters that HTML
        cannot carry.

    Raises
    ------
    InputError
        If a number of the scene cannot be drawn.
    """
    check(scene)
    sign, word = TONES[scene.tone]
    return _template().render(
        scene=scene,
        sign=sign,
        word=word,
        style=Markup(_file("page.css")),  # noqa: S704 - our own file
        blocks=[_block(passage, number) for number, passage in enumerate(scene.passages)],
        risk=_risk(scene),
        grid=_grid(scene.heads),
        levels=range(1, LEVELS + 1),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize
    )
    environment.filters |= {"visible": _visible, "spelled": spelled}
    return environment.from_string(_file("page.html.j2"))


def _file(name: str) -> str:
    return files("heed.picture").joinpath(name).read_text(encoding="utf-8")


def _finalize(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _visible(text: str) -> Markup:
    """Text as HTML in which invisible characters carry a badge and cannot reorder what is around them."""
    return Markup().join(
        Markup('<span class="hidden" data-name="{}">{}</span>').format(called, part) if called else _kept(part)
        for part, called in parts(text)
    )


def _kept(text: str) -> Markup:
    """Escaped text; carriage returns as references, because a parser turns raw ones into line feeds."""
    return Markup("&#13;").join(escape(part) for part in text.split("\r"))


def _block(passage: Passage, number: int) -> _Block:
    evidence = passage.evidence
    pieces = runs(evidence)
    heaviest = max((span.weight for span in evidence.spans), default=0.0)
    anchors: dict[int, str] = {}
    for run in pieces:
        if run.mark is not None:
            anchors.setdefault(run.mark, f"m{number}-{run.mark}")
    unused = dict(anchors)
    chosen = stretches(lines(pieces, width=_LINE), around=4, whole=40, least=6)
    marked = zip(evidence.spans, evidence.words(), strict=True)
    words = tuple(
        _Word(word, percent(span.weight), 100 * span.weight / (heaviest or 1), anchors.get(index, ""))
        for index, (span, word) in enumerate(marked)
        if word
    )
    return _Block(
        label=passage.label,
        marks_name=passage.marks_name,
        stretches=tuple((s.shown, len(s.lines), _stretch(s, passage, unused)) for s in chosen),
        words=words,
        ticks=_ticks(pieces, heaviest) if len(chosen) > 1 else (),
        open=len(words) <= _MOST_OPEN,
    )


def _stretch(stretch: Stretch, passage: Passage, unused: dict[int, str]) -> Markup:
    heaviest = max((span.weight for span in passage.evidence.spans), default=0.0)
    return Markup().join(
        _visible(run.text)
        if run.mark is None
        else Markup('<mark class="l{}"{} tabindex="0" title="{}" data-share="{}" aria-label="{}">{}</mark>').format(
            level(run.weight, heaviest),
            Markup(' id="{}"').format(unused.pop(run.mark)) if run.mark in unused else "",
            spelled(f"{percent(run.weight)} {passage.marks_name}").strip(),
            percent(run.weight),
            spelled(f"{run.text} (marked, {percent(run.weight)})"),
            _visible(run.text),
        )
        for run in joined(stretch)
    )


def _ticks(pieces: tuple[Run, ...], heaviest: float) -> tuple[tuple[float, float, int], ...]:
    length = sum(len(run.text) for run in pieces) or 1
    found, at = [], 0
    for run in pieces:
        if run.mark is not None:
            found.append((100 * at / length, 100 * len(run.text) / length, level(run.weight, heaviest)))
        at += len(run.text)
    return tuple(found)


def _risk(scene: Scene) -> dict[str, object] | None:
    if scene.risk is None:
        return None
    risk, threshold = scene.risk
    said = f"risk {risk:.2f} of 1" + ("" if threshold is None else f", threshold {threshold:.2f}")
    return {"value": risk, "threshold": threshold, "says": said}


def _grid(heads: HeadGrid | None) -> dict[str, object] | None:
    if heads is None:
        return None
    return {
        "heads": heads,
        "layout": layout(heads),
        "legend": legend(heads),
        "left": MARGIN_LEFT,
        "top": MARGIN_TOP,
        "scale": [(100 * step / 9, colour(step / 9)) for step in range(10)],
    }
