"""What the benchmarks write into docs/mechanisms.md: tables and a plot between marks, nothing by hand."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "mechanisms.md"
_COLOURS = (
    "#666666",
    "#1b9e77",
    "#d95f02",
    "#7570b3",
    "#e7298a",
    "#66a61e",
    "#e6ab02",
    "#a6761d",
    "#1f78b4",
    "#b2182b",
)

Line = Sequence[tuple[float, float]]


def marks(part: str) -> tuple[str, str]:
    """The comments around what is written."""
    return f"<!-- benchmarks/mechanisms writes {part} from here -->", f"<!-- {part}: to here -->"


def fill(part: str, text: str, page: Path = PAGE) -> None:
    """Put text between the marks of a part.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    begin, end = marks(part)
    old = page.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"expected {begin!r} and then {end!r} once each in {page}, found others: put them back")
    before, after = old.split(begin)[0], old.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first stand to the right."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]])


def measured_on(where: Mapping[str, str]) -> str:
    """Machine, versions, date and commit in a sentence."""
    return (
        f"Measured on {where['cpu']}, {where['cores']} cores, {where['threads']} threads, load {where['load before']} "
        f"before; torch {where['torch']}, Python {where['python']}; {where['date']}, commit {where['commit']}."
    )


def plot(lines: Mapping[str, Line], title: str, across: str, up: str) -> str:
    """An SVG with logarithmic axes: one line of points for each name, the names beside their last points."""
    xs, ys = zip(*(point for line in lines.values() for point in line), strict=True)
    wide, high, left, top = 560, 330, 60, 34

    def at(x: float, y: float) -> tuple[float, float]:
        return left + wide * _share(x, xs), top + high * (1 - _share(y, ys))

    parts = [f'<text x="{left}" y="20" font-size="15">{title}</text>']
    for x in sorted(set(xs)):
        px, bottom = at(x, min(ys))
        parts.append(f'<path d="M{px:.1f} {top}V{bottom:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{px:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{x:,.0f}</text>')
    for power in range(math.ceil(math.log10(min(ys))), math.floor(math.log10(max(ys))) + 1):
        px, py = at(min(xs), 10.0**power)
        parts.append(f'<path d="M{px:.1f} {py:.1f}h{wide}" stroke="#ddd"/>')
        parts.append(f'<text x="{px - 6:.1f}" y="{py + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    parts.append(f'<text x="{left + wide / 2:.0f}" y="{top + high + 38}" text-anchor="middle">{across}</text>')
    parts.append(
        f'<text x="14" y="{top + high / 2:.0f}" text-anchor="middle" {_turned(14, top + high / 2)}>{up}</text>'
    )
    labels = _apart({name: at(*line[-1])[1] for name, line in lines.items()})
    for (name, line), colour in zip(lines.items(), _COLOURS * len(lines), strict=False):
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(*point) for point in line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(f'<text x="{left + wide + 8}" y="{labels[name] + 4:.1f}" fill="{colour}">{name}</text>')
    size = f'viewBox="0 0 {left + wide + 110} {top + high + 50}"'
    style = 'font-family="sans-serif" font-size="12"'
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', back, *parts, "</svg>", ""])


def _share(value: float, values: Sequence[float]) -> float:
    low, high = math.log(min(values)), math.log(max(values))
    return (math.log(value) - low) / ((high - low) or 1.0)


def _turned(x: float, y: float) -> str:
    return f'transform="rotate(-90 {x:.0f} {y:.0f})"'


def _apart(places: Mapping[str, float], gap: float = 14.0) -> dict[str, float]:
    """Heights of labels, moved down where they would touch."""
    moved: dict[str, float] = {}
    lowest = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        lowest = max(place, lowest + gap)
        moved[name] = lowest
    return moved
