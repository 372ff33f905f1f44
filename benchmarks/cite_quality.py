"""How well methods of citation find the facts that answer a question, set by set; `--page` writes CITE.md.

Nothing is judged by weights or heads that saw its set or a set of its family: `learned` and `heads` are found anew for
each, on those rows of the others that the shipped profile was fitted on (`--keep FILE` keeps what was read of them). A
plain run measures what the bars need. `--page` asks every method (hours on two cores): ablations get `--slow` questions
of each set with contexts of at most 6,000 characters, all others `--limit` (0: all). The page is written anew after
each set.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import heed
from harness import QUICK, Claim, Skip, at_least, at_most, main, pick
from heed.citation import Method
from heed.citation.ablation import Ablations
from heed.citation.data import LabelledQuestion, data_hash, load_questions
from heed.citation.fusion import fusion_method
from heed.citation.methods import method
from heed.evaluation import CitationEvaluation, Controls, evaluate_citation
from heed.evaluation.cited import FLOOR, MethodResult
from heed.evaluation.cited_left_out import HeardSets, hear_sets
from heed.evaluation.judged import Progress
from heed.evaluation.write_citation import markdown
from heed.settings import settings
from inputs import embedded
from machine import environment

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from fit_embedded_citations import family, rows_of

_PAGE = Path(__file__).parent / "CITE.md"
SLOW = ("leave_one_out", "contextcite")
LONGEST = 6000
"""Characters of a context for ablations and log-probabilities: both take up to a pass for each of its facts."""
LEARNED, FUSED = "learned", "learned+bm25"
_PLAIN = ("last_quarter", "all_layers", "calibrated", "attrieval", "embedding", *SLOW)
_VARIANTS = {
    "attrieval, sink=paper": {"sink": "paper"},
    "attrieval, KL to the question": {"retriever": "question"},
    "attrieval, KL to the facts": {"retriever": "facts"},
}


def measure(limit: int, *, page: bool, slow: int, keep: Path | None, only: str | None) -> list[Claim]:
    """Read the development sets, ask the methods, hold them against the bars."""
    folder = settings().dev_data
    files = [] if folder is None else sorted((Path(folder) / "cite").glob("*.jsonl"))
    if not files:
        raise Skip("no development data: HEED_DEV_DATA names a folder with cite/*.jsonl")
    model = embedded()
    rows = [row for row in load_questions(files, limit=limit or None) if only in (None, row.group)]
    rows = [row for row in rows if only is None or len(row.question.context) <= LONGEST]
    taught = rows if QUICK else rows_of(Path(folder or ""))
    heard = hear_sets(model, taught, keep=keep, progress=_told("read"))
    found = None
    for found in _set_by_set(model, rows, heard, everything=page, slow=slow):
        if page and not QUICK:
            own = _PAGE if only is None else _PAGE.with_stem(f"CITE_{only.upper()}")
            own.write_text(text_of(found, limit, slow, only), encoding="utf-8")
    if found is None:
        raise Skip(f"no question in {len(files)} files")
    return claims(found)


def _set_by_set(
    model: heed.Model, rows: Sequence[LabelledQuestion], heard: HeardSets, *, everything: bool, slow: int
) -> Iterator[CitationEvaluation]:
    """What is known after each set, the sets before it included."""
    fixed, known = fixed_methods(model, everything=everything), None
    for name in dict.fromkeys(row.group for row in rows):
        found = evaluate_citation(
            fixed | learned_methods(heard, name, everything=everything),
            [row for row in rows if row.group == name],
            model=model.name,
            loss=lambda question: Ablations(model, question).drop,
            limits=dict.fromkeys(SLOW, slow),
            longest=LONGEST,
            controls=Controls(shuffled=slow, swapped=slow, drops=slow) if everything else Controls(0, 0, 0),
            progress=_told(f"{name}: asked"),
        )
        known = found if known is None else _joined(known, found, data_hash(rows))
        yield known


def _joined(first: CitationEvaluation, second: CitationEvaluation, data: str) -> CitationEvaluation:
    return replace(
        first,
        data=data,
        sets=(*first.sets, *second.sets),
        notes=(*first.notes, *second.notes),
        rankings=(*first.rankings, *second.rankings),
    )


def fixed_methods(model: heed.Model, *, everything: bool) -> dict[str, Method]:
    """The methods that know no data set."""
    found = {name: method(name, model) for name in (*FLOOR, *(_PLAIN if everything else ()))}
    if everything:
        found |= {name: method("attrieval", model, **own) for name, own in _VARIANTS.items()}
        found["embedding+bm25"] = method("embedding+bm25", model)
    return found


def learned_methods(heard: HeardSets, name: str, *, everything: bool) -> dict[str, Method]:
    """The methods whose weights or heads were found on the sets of other families."""
    learned = method(LEARNED, heard.model, profile=heard.profile_without(name, family))
    found = {LEARNED: learned, FUSED: fusion_method([learned, method("bm25", None)])}
    if everything:
        found["heads"] = method("heads", heard.model, heads=heard.heads_without(name, family))
        found["learned+embedding"] = fusion_method([learned, method("embedding", None)])
    return found


def claims(found: CitationEvaluation) -> list[Claim]:
    """The bars of recall@5, with intervals in the details."""
    told = {(one.name, one.regime): one.methods for one in found.sets}
    made: list[Claim] = []
    for regime, least, above in (("question", 0.60, 0.08), ("response", 0.70, 0.0)):
        own = told.get(("entailment_bank", regime))
        if own is not None:
            made += _over_bm25(own, f"EntailmentBank, {regime}", least=least, above=above)
    medcalc = told.get(("medcalc", "response"))
    if medcalc is not None:
        for floor in ("bm25", "lead", "recency"):
            gap = medcalc[LEARNED].means["recall@5"] - medcalc[floor].means["recall@5"]
            made.append(at_least(f"MedCalc, response: recall@5 of learned less {floor}", gap, 0.0, unit=""))
    gains = {f"{name}, {regime}": own[FUSED].differences["recall@5"] for (name, regime), own in told.items()}
    better = {name for (name, regime) in told if gains[f"{name}, {regime}"].low > 0}
    worse = [name for name, gain in gains.items() if gain.high < 0]
    details = {name: f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" for name, gain in gains.items()}
    made.append(at_least("sets where learned+bm25 beats bm25", len(better), 4, details, unit=""))
    made.append(at_most("sets where learned+bm25 is worse than bm25", len(worse), 0, unit=""))
    return made


def _over_bm25(own: Mapping[str, MethodResult], name: str, *, least: float, above: float) -> list[Claim]:
    learned = own[LEARNED]
    gain = learned.differences["recall@5"]
    interval = {"interval": [learned.recall.low, learned.recall.high], "rows": learned.rows}
    return [
        at_least(f"{name}: recall@5 of learned", learned.recall.value, least, interval, unit=""),
        at_least(f"{name}: recall@5 of learned less bm25", gain.value, above, gain.record(), unit=""),
        at_least(f"{name}: lower end of that difference", gain.low, 0.0, unit=""),
    ]


def text_of(found: CitationEvaluation, limit: int, slow: int, only: str | None) -> str:
    """CITE.md, or the page of one set."""
    where = environment()
    most = "all questions" if not limit else f"at most {limit} questions"
    parts = [
        "# How well methods of citation find facts",
        f"Written by `benchmarks/cite_quality.py --page --limit {limit} --slow {slow}"
        f"{'' if only is None else f' --only {only}'}`: {most} of each development set "
        f"{'' if only is None else f'(of these, contexts of at most {LONGEST:,} characters) '}"
        f"(drawn with a fixed seed), {slow} for controls, ablations and log-probabilities (the latter two on "
        f"contexts of at most {LONGEST:,} characters). `learned` and `heads` saw "
        "neither the set they are judged on nor one of its family. Sets: EntailmentBank, WiCE, HotpotQA, IRCoT's "
        "hand-written chains of thought, MedCalc-Bench (weak gold: sentences that hold the values), "
        "bAbI. Gold says what people marked, not what the model used. Seconds were taken beside other work: "
        "they compare methods within a set, no more.",
        "\n".join(f"* {name}: {value}" for name, value in where.items()),
        markdown(found),
    ]
    return "\n\n".join(parts)


def _told(what: str) -> Progress:
    """Every fiftieth step on stderr: a run takes long."""

    def tell(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            print(f"{what} {done} of {total}", file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=pick(40, 4), help="questions of each set; 0: all")
    parser.add_argument("--slow", type=int, default=pick(10, 2), help="questions of each set for ablations, controls")
    parser.add_argument("--page", action="store_true", help="ask every method and write CITE.md")
    parser.add_argument("--only", metavar="SET", help="one data set, its short contexts, on a page of its own")
    parser.add_argument("--keep", type=Path, help="where to keep what is read to learn from, or to find it")
    options = parser.parse_args()
    asked = {name: getattr(options, name) for name in ("page", "slow", "keep", "only")}
    main(__file__, lambda: measure(options.limit, **asked))
