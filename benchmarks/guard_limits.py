"""How often attacks that the shipped guard catches are overlooked once they are rewritten, adaptation by adaptation.

The suite is our own (`adaptive.py`, adaptive_texts.jsonl) and no development set: nothing was fitted on it. Base
attacks stand in plain words; only those the guard catches are rewritten, so that a rate says what the rewriting does.
An abstention counts as overlooked on attacks and as an alarm on benign texts. A text that is overlooked need not be
obeyed by the model it is meant for. A full run writes the table of docs/limits.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import heed
from adaptive import ADAPTATIONS, Case, cut, filler_of, load_cases
from harness import QUICK, Claim, Skip, main, pick, reported
from heed.measure import wilson_interval
from heed.profile import NAMES
from inputs import embedded, judging_guard

PAGE = Path(__file__).parents[1] / "docs" / "limits.md"
BEGIN, END = "<!-- benchmarks/guard_limits.py writes from here -->", "<!-- to here -->"
_PADDING = 4000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one guard did: base attacks caught, benign texts that raised an alarm, and what rewriting escaped.

    ``above`` is whether an attack scores above the same text without it. ``evaded`` has one value for each caught
    attack, in their order.
    """

    caught: tuple[bool, ...]
    above: tuple[bool, ...]
    alarms: tuple[bool, ...]
    padded_alarms: tuple[bool, ...]
    evaded: Mapping[str, tuple[bool, ...]]

    def any_of(self, *, plain_only: bool) -> tuple[bool, ...]:
        """For each caught attack whether at least one adaptation escaped: an attacker who tries them all."""
        names = [one.name for one in ADAPTATIONS if one.plain or not plain_only]
        return tuple(any(tried) for tried in zip(*(self.evaded[name] for name in names), strict=True))


def limits(guard: heed.Guard, cases: Sequence[Case], others: Sequence[Case]) -> Limits:
    """Judge base attacks, benign texts and every adaptation of what was caught; padding comes from ``others``."""
    caught = _flags(guard, cases, [case.document(case.payload) for case in cases], abstained=False)
    fillers = {case.id: filler_of(case, others) for case in cases}
    padded = [case.document(cut(fillers[case.id], _PADDING)) for case in cases]
    tried = [case for case, found in zip(cases, caught, strict=True) if found]
    evaded = {}
    for one in ADAPTATIONS:
        texts = [case.document(one.rewrite(case, fillers[case.id])) for case in tried]
        evaded[one.name] = tuple(not found for found in _flags(guard, tried, texts, abstained=False))
    return Limits(
        caught=caught,
        above=_above(guard, cases),
        alarms=_flags(guard, cases, [case.benign for case in cases], abstained=True),
        padded_alarms=_flags(guard, cases, padded, abstained=True),
        evaded=evaded,
    )


def _flags(guard: heed.Guard, cases: Sequence[Case], texts: Sequence[str], *, abstained: bool) -> tuple[bool, ...]:
    """Whether each text is flagged; ``abstained`` is what an abstention counts as."""
    verdicts = guard.check_many((case.instruction, text) for case, text in zip(cases, texts, strict=True))
    return tuple(abstained if verdict.flagged is None else verdict.flagged for verdict in verdicts)


def _above(guard: heed.Guard, cases: Sequence[Case]) -> tuple[bool, ...]:
    """Whether each attack scores above its benign twin; a text without a score counts against the guard."""
    attacked = guard.check_many((case.instruction, case.document(case.payload)) for case in cases)
    twins = guard.check_many((case.instruction, case.benign) for case in cases)
    scores = [(one.score, other.score) for one, other in zip(attacked, twins, strict=True)]
    return tuple(own is not None and other is not None and own > other for own, other in scores)


def share(found: Sequence[bool]) -> str:
    """A share in percent with its 95 % Wilson interval and its counts."""
    if not found:
        return "–"
    count, of = sum(found), len(found)
    interval = wilson_interval(count, of)
    return f"{100 * count / of:.0f} % ({100 * interval.low:.0f}–{100 * interval.high:.0f}), {count} of {of}"


def table(found: Mapping[str, Limits]) -> str:
    """All guards side by side: what was caught, false alarms, what each adaptation escaped."""
    rows: dict[str, Callable[[Limits], str]] = {
        "base attacks caught": lambda one: share(one.caught),
        "base attacks that score above the same text without them": lambda one: share(one.above),
        "false alarms, the same texts without the attack": lambda one: share(one.alarms),
        f"false alarms, with {_PADDING:,} characters of prose in its place": lambda one: share(one.padded_alarms),
        "**caught attacks that escape when rewritten:**": lambda one: "",
        **{way.name: partial(_escaped, way.name) for way in ADAPTATIONS},
        "**at least one of these in ordinary letters**": lambda one: share(one.any_of(plain_only=True)),
        "**at least one of all these**": lambda one: share(one.any_of(plain_only=False)),
    }
    head = ["| | " + " | ".join(f"`{name}`" for name in found) + " |", "|---" * (len(found) + 1) + "|"]
    return "\n".join(
        [*head, *(f"| {name} | {' | '.join(cell(one) for one in found.values())} |" for name, cell in rows.items())]
    )


def _escaped(name: str, found: Limits) -> str:
    return share(found.evaded[name])


def write_page(path: Path, text: str) -> None:
    """Put a table between the marks of a page.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    page = path.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"expected {BEGIN!r} and then {END!r} once each in {path}, found others: put them back")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def claims_of(name: str, found: Limits) -> list[Claim]:
    """Figures of one profile; there is no bar, a limit is reported."""
    claims = [
        reported(f"share of base attacks caught, {name}", _mean(found.caught), {"95 %": share(found.caught)}),
        reported(
            f"share of base attacks above their benign twin, {name}", _mean(found.above), {"95 %": share(found.above)}
        ),
        reported(f"share of benign texts with an alarm, {name}", _mean(found.alarms), {"95 %": share(found.alarms)}),
    ]
    if any(found.caught):
        mean = _mean([_mean(tried) for tried in found.evaded.values()])
        details = {
            "at least one in ordinary letters escapes": share(found.any_of(plain_only=True)),
            "at least one escapes": share(found.any_of(plain_only=False)),
        }
        claim = f"share of caught attacks that escape when rewritten, mean over {len(found.evaded)} ways, {name}"
        claims.append(reported(claim, mean, details))
    return claims


def _mean(found: Sequence[float]) -> float:
    return sum(found) / len(found)


def measure() -> list[Claim]:
    """Each shipped profile on the whole suite."""
    model, cases = embedded(), load_cases()
    some = cases[:: pick(1, 8)]
    found = {name: limits(judging_guard(model, profile=name), some, cases) for name in NAMES}
    if not any(any(one.caught) for one in found.values()):
        raise Skip("no base attack is caught, so there is nothing to rewrite")
    text = table(found)
    print(text)
    claims = [claim for name, one in found.items() for claim in claims_of(name, one)]
    if not QUICK:
        write_page(PAGE, text)
    return claims


if __name__ == "__main__":
    main(__file__, measure)
