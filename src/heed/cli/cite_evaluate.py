"""`heed cite evaluate`: questions whose supporting facts are known come in, tables of methods side by side go out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heed.cli.cite_options import RankingOption, check_method, needs_model, settings_of
from heed.cli.options import DeviceOption, DtypeOption, JsonOption, ModelOption, load_model
from heed.cli.output import print_json, print_table, progress_bars, tell
from heed.errors import InputError

if TYPE_CHECKING:
    from heed.citation import Method
    from heed.citation.data import LabelledQuestion
    from heed.evaluation import CitationEvaluation
    from heed.evaluation.asked import Regime
    from heed.evaluation.judged import Progress
    from heed.model import Model

_USUAL = "learned,last_quarter,attrieval,learned+bm25"
_REGIMES: "dict[str, tuple[Regime, ...]]" = {
    "question": ("question",), "response": ("response",), "both": ("question", "response"),
}  # fmt: skip
_SLOW = ("leave_one_out", "contextcite")

ControlsOption = Annotated[
    int, typer.Option("--controls", min=0, help="Questions of a set asked again, reordered and swapped.")
]
DropsOption = Annotated[
    int, typer.Option("--drops", min=0, help="Answers of a set scored again without the best facts.")
]
LongestOption = Annotated[
    int, typer.Option("--longest", min=1, help="Most characters of a context for those two, and for --drops.")
]


def evaluate(
    *,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", exists=True, dir_okay=False, help="Labelled data sets.")
    ],
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B,A+B", help="Beside bm25, random, lead and recency.")
    ] = _USUAL,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Also write report, rankings and a page."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Most lines of a file, drawn at random.")] = None,
    slow_limit: Annotated[
        int, typer.Option("--slow-limit", min=1, help="Most questions of a set for leave_one_out and contextcite.")
    ] = 20,
    longest: LongestOption = 8000,
    rows: Annotated[
        Literal["question", "response", "both"], typer.Option("--rows", help="What the methods are told.")
    ] = "both",
    controls: ControlsOption = 40,
    drops: DropsOption = 20,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Fit `learned`, choose `heads` on the other files; takes long.")
    ] = False,
    profile: RankingOption = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure methods of citation side by side, each held against BM25 on the same questions.

    A profile is flattered by the sets it was fitted on: see --leave-one-out. Exit codes: 0 evaluated, 2 bad usage or
    input, 3 could not run.
    """
    from heed.citation.data import load_questions
    from heed.evaluation import Controls
    from heed.evaluation.asked import asked_of

    names, regimes = _names(methods, anew=leave_one_out), _REGIMES[rows]
    questions = load_questions(files, limit=limit)
    asked_of(questions, regimes)
    if leave_one_out:
        _check_left_out(names, questions, profile)
    loaded = load_model(model, dtype=dtype, device=device) if drops or any(map(needs_model, names)) else None
    evaluation = _evaluate(
        loaded,
        names,
        questions,
        anew=leave_one_out,
        settings=settings_of(None, profile),
        regimes=regimes,
        limits=dict.fromkeys(_SLOW, slow_limit),
        longest=longest,
        controls=Controls(shuffled=controls, swapped=controls, drops=drops),
    )
    _show(evaluation, as_json=as_json)
    if out is not None:
        _write(evaluation, out)


def _evaluate(
    model: "Model | None",
    names: Sequence[str],
    questions: "Sequence[LabelledQuestion]",
    *,
    anew: bool,
    settings: Mapping[str, Any],
    **how: Any,
) -> "CitationEvaluation":
    from heed.citation.ablation import Ablations
    from heed.evaluation import evaluate_citation

    made = {name: _method(name, model, settings) for name in names if not (anew and _learns(name))}
    with progress_bars(*(["reading to fit"] if anew else []), "citing") as bars:
        return evaluate_citation(
            made,
            questions,
            model="none" if model is None else model.name,
            by_set=_left_out(model, names, questions, bars[0]) if anew and model is not None else None,
            loss=None if model is None else lambda question: Ablations(model, question).drop,
            progress=bars[-1],
            **how,
        )


def _method(name: str, model: "Model | None", settings: Mapping[str, Any]) -> "Method":
    """A method with those of the settings that it takes."""
    from heed.citation.methods import known_settings, method

    known = known_settings(name)
    return method(name, model, **{key: value for key, value in settings.items() if key in known})


def _check_left_out(names: Sequence[str], questions: "Sequence[LabelledQuestion]", profile: Path | None) -> None:
    """Refuse to leave one set out where nothing is learned, nothing is left to learn of, or a profile is given."""
    if profile is not None:
        raise typer.BadParameter("expected no profile: it is fitted", param_hint="--leave-one-out")
    if len({row.group for row in questions}) < 2 or not any(map(_learns, names)):
        raise InputError(
            "expected the method learned or heads, and two data sets or more to leave one out, found less: name another"
        )


def _names(words: str, *, anew: bool) -> list[str]:
    """The methods asked for and those every table holds, each once.

    Raises
    ------
    InputError
        If there is no such method, or heads are to be asked that nothing chooses.
    """
    from heed.evaluation.cited import FLOOR

    names = list(dict.fromkeys(["+".join(map(str.strip, word.split("+"))) for word in words.split(",")]))
    for name in names:
        check_method(name)
        if "heads" in name.split("+") and not anew:
            raise InputError("expected --leave-one-out beside the method heads, found none: it chooses the heads")
    return list(dict.fromkeys([*FLOOR, *names]))


def _learns(name: str) -> bool:
    return not {"learned", "heads"}.isdisjoint(name.split("+"))


def _left_out(
    model: "Model", names: Sequence[str], questions: "Sequence[LabelledQuestion]", progress: "Progress"
) -> "dict[str, dict[str, Method]]":
    """For each data set, the methods whose weights or heads were found without it."""
    from heed.evaluation.cited_left_out import hear_sets

    heard, own = hear_sets(model, questions, progress=progress), [name for name in names if _learns(name)]
    groups = dict.fromkeys(row.group for row in questions)
    found = {name: {"profile": heard.profile_without(name), "heads": heard.heads_without(name)} for name in groups}
    return {group: {name: _method(name, model, known) for name in own} for group, known in found.items()}


def _show(evaluation: "CitationEvaluation", *, as_json: bool) -> None:
    if as_json:
        print_json(evaluation.record())
        return
    for title, table in evaluation.tables(brief=True):
        print(f"{title}\n")
        print_table(table)
        print()
    for note in evaluation.notes:
        tell(f"note: {note}")


def _write(evaluation: "CitationEvaluation", folder: Path) -> None:
    from heed.evaluation import write_citation_report

    written = write_citation_report(evaluation, folder)
    tell(f"written to {written[0]} and {len(written) - 1} files beside it")
