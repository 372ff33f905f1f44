"""`heed cite`: which facts of a context an answer, or a question, rests on."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.cite_evaluate import evaluate
from heed.cli.cite_fit import fit
from heed.cli.cite_options import MethodOption, RankingOption, RowsOption, SettingsOption, check_method, settings_of
from heed.cli.cite_scan import scan
from heed.cli.options import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PageOption,
    check_page,
    load_model,
    read_text,
)
from heed.cli.output import print_json, print_table, tell, working

if TYPE_CHECKING:
    from heed.citation import Citation, Question
    from heed.citation.reinsert import Reinserted
    from heed.model import Model

app = typer.Typer(help="Name the facts that an answer rests on.", no_args_is_help=True)
app.command()(scan)
app.command()(fit)
app.command()(evaluate)


@app.command()
def answer(
    *,
    context: Annotated[
        Path | None, typer.Option("--context", metavar="FILE|-", help="The text that holds the facts.")
    ] = None,
    question: Annotated[str | None, typer.Option("--question", metavar="TEXT", help="What is asked of it.")] = None,
    response: Annotated[
        Path | None, typer.Option("--response", metavar="FILE|-", help="The answer; without one, the question is read.")
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Let the model answer.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Take the example that ships with heed.")] = False,
    method: MethodOption = "learned",
    rows: RowsOption = None,
    settings: SettingsOption = None,
    profile: RankingOption = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Most facts shown.")] = 10,
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Also score the answer without the best facts: many passes.")
    ] = False,
    reinsert: Annotated[
        bool, typer.Option("--reinsert", help="Also let the model answer with the facts restated.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer of the model.")] = 256,
    page: PageOption = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank the facts of a context for an answer, or for a question, and say where they stand.

    Facts are the sentences of the context, with offsets into it. Scores order the facts of one context; they are no
    probabilities, and attention is no proof: --faithfulness takes the best facts out and scores the answer again.

    Exit codes: 0 cited, 2 bad usage or input, 3 could not run.
    """
    from heed.citation.faithfulness import check_scorable

    asked = _asked(context, question, response, example=example, generate=generate)
    if faithfulness:
        check_scorable(asked, generate=generate)
    named = settings_of(settings, profile)
    check_method(method, named)
    check_page(page)
    loaded = load_model(model, dtype=dtype, device=device)
    from heed.citation import cite

    with working("reading"):
        citation = cite(
            loaded, asked.context, asked.text, asked.response, rows=rows, generate=generate, method=method,
            units=asked.units, top=top, check=faithfulness, max_new_tokens=max_new_tokens, **named,
        )  # fmt: skip
    facts = [fact.index for fact in citation.facts]
    second = _answer_again(loaded, asked, facts, max_new_tokens=max_new_tokens) if reinsert else None
    _show(citation, second, as_json=as_json)
    if page is not None:
        _write_page(citation, page)


def _answer_again(model: "Model", question: "Question", facts: Sequence[int], *, max_new_tokens: int) -> "Reinserted":
    from heed.citation.reinsert import reinsert

    with working("answering again"):
        return reinsert(model, question, facts, max_new_tokens=max_new_tokens)


def _write_page(citation: "Citation", page: Path) -> None:
    from heed.picture import show

    show(citation).html(page)
    tell(f"page: {page}")


def _asked(
    context: Path | None, question: str | None, response: Path | None, *, example: bool, generate: bool
) -> "Question":
    """What is asked, from the options or from the shipped example.

    Raises
    ------
    typer.BadParameter
        If an option is missing, or options exclude one another.
    HeedError
        As `heed.citation.Question.of`, or if a file cannot be read.
    """
    if generate and response is not None:
        raise typer.BadParameter("expected one of both, found both", param_hint="--response, --generate")
    from heed.citation import Question
    from heed.citation.example import examples

    if example:
        if context is not None or question is not None or response is not None:
            raise typer.BadParameter("expected the example alone, found a text of yours", param_hint="--example")
        shipped = examples()[0].question
        return Question(shipped.text, shipped.context, shipped.units) if generate else shipped
    if context is None or question is None:
        missing = "--context" if context is None else "--question"
        raise typer.BadParameter("expected both, or --example, found one of them missing", param_hint=missing)
    if context == response and str(context) == "-":
        raise typer.BadParameter("expected stdin for one text, found it for several", param_hint="'-'")
    return Question.of(question, read_text(context), None if response is None else read_text(response))


def _show(citation: "Citation", second: "Reinserted | None", *, as_json: bool) -> None:
    if as_json:
        again = None if second is None else asdict(second)
        print_json({**citation.record(), "reinserted": again})
        return
    print_table(_facts(citation))
    sentences = list(_sentences(citation))
    if sentences:
        print()
        print_table([("sentence of the answer", "rests on facts"), *sentences])
    print()
    print_table([*citation.scene().facts, *_generated(citation, second)], header=False)
    for note in citation.notes:
        tell(f"note: {note}")


def _facts(citation: "Citation") -> list[tuple[str, ...]]:
    with_frequency = any(fact.frequency is not None for fact in citation.facts)
    head = ("fact", "characters", "score", *(("frequency",) if with_frequency else ()), "text")
    found: list[tuple[str, ...]] = [head]
    for fact in citation.facts:
        frequency = ("" if fact.frequency is None else f"{fact.frequency:.2f}",) if with_frequency else ()
        place = f"{fact.span.start}-{fact.span.end}"
        found.append((str(fact.index), place, f"{fact.score:.4g}", *frequency, _one_line(fact.text)))
    return found


def _sentences(citation: "Citation") -> Iterator[tuple[str, str]]:
    for sentence in citation.sentences:
        yield _one_line(sentence.text), ", ".join(map(str, sentence.facts))


def _generated(citation: "Citation", second: "Reinserted | None") -> Iterator[tuple[str, str]]:
    if citation.generated and citation.response is not None:
        yield "the model's answer", _one_line(citation.response)
    if second is not None:
        where = "" if second.context_kept else " (the facts alone: with the context they do not fit the window)"
        yield f"with the facts restated{where}", _one_line(second.response)


def _one_line(text: str) -> str:
    return " ".join(text.split())
