"""A scene as terminal text, readable with and without colour.

Comes in: a `Scene`. Goes out: a string; nothing is printed, no terminal is asked. Without colour a mark
is underlined on a line of its own, as compilers do. Hostile text cannot move the cursor or reorder the
line: see `heed.picture.visible`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest

import numpy as np
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

from heed.errors import InputError
from heed.picture.blocks import Run, Stretch, check, level, lines, percent, runs, stretches
from heed.picture.grid import counting
from heed.picture.visible import spelled
from heed.text.evidence import Evidence, HeadGrid, Passage, Scene

TONE_WORDS = {"good": "OK", "bad": "ALERT", "unsure": "UNSURE", "neutral": "NOTE"}
"""The word that says a scene's tone where colour is not seen."""

LEAST_WIDTH = 40
"""Narrowest picture, in terminal cells."""

_MOST_WORDS = 8
_BAR = 32
_BLOCKS = " ▁▂▃▄▅▆▇█"
_UNDERLINES = "┄─━▀"
_TONES = {
    "good": Style(color="green", bold=True),
    "bad": Style(color="red", bold=True),
    "unsure": Style(color="yellow", bold=True),
    "neutral": Style(color="cyan", bold=True),
}
_MARKS = tuple(
    Style(color="black", bgcolor=f"color({code})", bold=strength > 2, underline=True)
    for strength, code in enumerate((230, 222, 215, 209), start=1)
)
_BOLD, _DIM = Style(bold=True), Style(dim=True)


class _Pen:
    """Puts a style on text, or leaves the text as it is."""

    def __init__(self, *, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, style: Style) -> str:
        return style.render(text, color_system=ColorSystem.EIGHT_BIT) if self.colour and text else text


def plain(scene: Scene, *, width: int = 100, colour: bool = False) -> str:
    """Draw a scene as text for a terminal.

    Parameters
    ----------
    scene
        What to draw.
    width
        Cells of a terminal line, at least 40.
    colour
        Use ANSI colours (256). Otherwise marks are underlined, stronger for heavier marks.

    Returns
    -------
    str
        Lines joined by line feeds, none at the end.

    Raises
    ------
    InputError
        If the width is too small, or a number of the scene cannot be drawn.
    """
    if width < LEAST_WIDTH:
        raise InputError(f"expected a width of at least {LEAST_WIDTH} cells, found {width}; give a larger one")
    check(scene)
    pen = _Pen(colour=colour)
    blocks = [_head(scene, width, pen), _facts(scene, width, pen)]
    blocks += [_passage(passage, width, pen) for passage in scene.passages]
    if scene.heads is not None:
        blocks.append(_heads(scene.heads, width, pen))
    blocks.append([line for note in scene.notes for line in _wrapped(f"note: {_one_line(note)}", width, "      ")])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _head(scene: Scene, width: int, pen: _Pen) -> list[str]:
    headline = _wrapped(f"{TONE_WORDS[scene.tone]}: {_one_line(scene.headline)}", width, "")
    return [
        *(pen(line, _DIM) for line in _wrapped(_one_line(scene.title), width, "")),
        *(pen(line, _TONES[scene.tone]) for line in headline),
    ]


def _facts(scene: Scene, width: int, pen: _Pen) -> list[str]:
    facts = [(_one_line(label), _one_line(value)) for label, value in scene.facts]
    column = min(24, width // 2, max([4, *(cell_len(label) for label, _ in facts)]))
    found = []
    if scene.risk is not None:
        room = width - column - 15
        found.append(f"{pen('risk'.ljust(column), _DIM)}  {_bar(scene, min(_BAR, room), pen)}")
    for label, value in facts:
        rows = zip_longest(_wrapped(label, column, ""), _wrapped(value, width - column - 2, ""), fillvalue="")
        found += [f"{pen(left + ' ' * (column - cell_len(left)), _DIM)}  {right}".rstrip() for left, right in rows]
    return found


def _bar(scene: Scene, size: int, pen: _Pen) -> str:
    assert scene.risk is not None
    risk, threshold = scene.risk
    filled = round(risk * size)
    cells = ["█"] * filled + ["░"] * (size - filled)
    said = ""
    if threshold is not None:
        cells[min(size - 1, int(threshold * size))] = "┃"
        said = f"  ┃ {threshold:.2f}"
    return f"{risk:.2f} {pen(''.join(cells), _TONES[scene.tone])}{said}"


def _passage(passage: Passage, width: int, pen: _Pen) -> list[str]:
    evidence = passage.evidence
    name = f" · marked: {_one_line(passage.marks_name)}" if passage.marks_name else ""
    safe = _spelled_runs(runs(evidence))
    chosen = stretches(lines(safe, width=width - 2), around=2, whole=16, least=3)
    heaviest = max((span.weight for span in evidence.spans), default=0.0)
    label = _one_line(passage.label)
    found = [line.replace(label, pen(label, _BOLD), 1) for line in _wrapped(label + name, width, "  ")]
    for stretch in chosen:
        found += _stretch(stretch, heaviest, pen)
    words = list(_words(evidence, width))
    return [*found, *([""] if words else []), *words]


def _spelled_runs(pieces: Sequence[Run]) -> Iterator[Run]:
    """The runs with what is invisible spelled out; a CR LF that a mark cuts in two stays one line end."""
    for run, after in pairwise([*pieces, Run("")]):
        cut = run.text.endswith("\r") and after.text.startswith("\n")
        yield replace(run, text=spelled(run.text[:-1] if cut else run.text))


def _stretch(stretch: Stretch, heaviest: float, pen: _Pen) -> Iterator[str]:
    if not stretch.shown:
        yield pen(f"│ … {len(stretch.lines)} lines …", _DIM)
        return
    for line in stretch.lines:
        *front, last = line
        pieces = [*front, replace(last, text=last.text.rstrip(" \n"))]
        drawn = "".join(
            run.text if run.mark is None else pen(run.text, _MARKS[level(run.weight, heaviest) - 1]) for run in pieces
        )
        yield f"{pen('│', _DIM)} {drawn}".rstrip()
        under = "".join(_underline(run, heaviest) for run in pieces).rstrip()
        if under and not pen.colour:
            yield f"  {under}"


def _underline(run: Run, heaviest: float) -> str:
    glyph = " " if run.mark is None else _UNDERLINES[level(run.weight, heaviest) - 1]
    return glyph * cell_len(run.text)


def _words(evidence: Evidence, width: int) -> Iterator[str]:
    marked = [(span.weight, word) for span, word in zip(evidence.spans, evidence.words(), strict=True) if word]
    for weight, word in marked[:_MOST_WORDS]:
        yield f"  {percent(weight):>5}  {_cut(_one_line(word), width - 9)}"
    if len(marked) > _MOST_WORDS:
        rest = sum(weight for weight, _ in marked[_MOST_WORDS:])
        yield f"  {percent(rest):>5}  in {len(marked) - _MOST_WORDS} more marks"


def _heads(grid: HeadGrid, width: int, pen: _Pen) -> list[str]:
    """Layers across and heads down, the other way round than on a page, because terminals are wide."""
    count = grid.values.shape[0]
    step = width - 9
    found = [pen(line, _BOLD) for line in _wrapped(_one_line(grid.title), width, "  ")]
    for start in range(0, count, step):
        end = min(count, start + step)
        found.append(pen(f"layers {start} to {end - 1}", _DIM))
        for head, column in enumerate(grid.values[start:end].T):
            found.append(f"head {head:>3} {''.join(_block(value) for value in column)}")
    scale = f"▁ {_one_line(grid.low)}, █ {_one_line(grid.high)}, · not read"
    return found + _wrapped(scale, width, "  ") + _wrapped(_heaviest_heads(grid), width, "  ")


def _block(value: float) -> str:
    return "·" if np.isnan(value) else _BLOCKS[1 + min(7, max(0, int(value * 8)))]


def _heaviest_heads(grid: HeadGrid) -> str:
    counts = counting(grid)
    if not counts.any():
        return "no head counts: nothing here decided the result"
    strength = np.abs(np.nan_to_num(grid.weights))
    order = np.argsort(-strength, axis=None, kind="stable")[: min(5, int(counts.sum()))]
    named = ", ".join(
        f"{layer}.{head} ({grid.values[layer, head]:.2f})"
        for layer, head in (divmod(int(at), counts.shape[1]) for at in order)
    )
    return f"{counts.sum()} of {counts.size} heads count; most, as layer.head (value): {named}"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    laid = lines([Run(text)], width=width - len(indent))
    return [(indent if at else "") + "".join(run.text for run in line).rstrip() for at, line in enumerate(laid)]


def _one_line(text: str) -> str:
    return " ".join(spelled(text).split())


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return lines([Run(text)], width=width - 2)[0][0].text.rstrip() + " …"
