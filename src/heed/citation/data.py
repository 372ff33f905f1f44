"""Questions whose supporting facts are known: JSONL of ``{id, question, units, separator, gold, response, answer}``.

The context of a row is ``separator.join(units)``. Blank units are kept in the context and are no facts.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heed.citation.question import Question
from heed.errors import InputError, RecordError
from heed.jobs.lines import BadLine, open_source, read_lines
from heed.text.span import CharSpan

MOST_CHARACTERS = 1_000_000
"""Longest context of a row. Beyond it a row is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question as a row of data asks it.

    ``places`` says which unit of the row each fact of the question is; ``blank`` are the units that are none.
    """

    question: Question
    places: tuple[int, ...]
    blank: tuple[int, ...]

    def ranking(self, facts: Sequence[int]) -> list[int]:
        """A ranking of facts as one of the row's units; blank ones come last."""
        return [*(self.places[fact] for fact in facts), *self.blank]

    def scores(self, values: Sequence[float]) -> list[float | None]:
        """A number for every unit of the row, None for a blank one."""
        found: list[float | None] = [None] * (len(self.places) + len(self.blank))
        for place, value in zip(self.places, values, strict=True):
            found[place] = float(value)
        return found


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question and the facts that support its answer.

    ``gold`` are indices into the question's units, ``gold_sets`` the sets of them that suffice each by itself (one,
    ``gold`` itself, where the row knows no alternatives). Both are empty where nothing in the context supports it.
    """

    id: str
    group: str
    """The data set: its file's name without ending, with the folder where two files share a name."""
    question: Question
    separator: str
    gold: frozenset[int]
    gold_sets: tuple[frozenset[int], ...]


def load_questions(files: Sequence[Path], *, limit: int | None = None, seed: int = 0) -> list[LabelledQuestion]:
    """Read labelled questions, at most ``limit`` rows of each file, drawn at random with a fixed seed.

    Raises
    ------
    RecordError
        With file and line number, if a row does not follow the format; if a file holds no row. Nothing is skipped.
    """
    alike = len({path.stem for path in files}) < len(files)
    questions: list[LabelledQuestion] = []
    for path in files:
        group = str(path.with_suffix("")) if alike else path.stem
        rows = _read(path, group)
        if not rows:
            raise RecordError(
                f"expected rows of labelled questions in {path}, found none: fill the file or leave it out"
            )
        if limit is not None and len(rows) > limit:
            chosen = np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))
            rows = [rows[index] for index in chosen]
        questions.extend(rows)
    return questions


def data_hash(questions: Sequence[LabelledQuestion]) -> str:
    """Identity of the rows: sha256 over what is asked and what is gold, the first 16 hex digits."""
    digest = hashlib.sha256()
    for row in questions:
        asked = row.question
        units = [[span.start, span.end] for span in asked.units]
        fields = [row.group, row.id, asked.text, asked.context, asked.response, units, sorted(row.gold)]
        digest.update(json.dumps(fields).encode())
    return digest.hexdigest()[:16]


def row_of(record: Mapping[str, Any], where: str) -> Row:
    """The question of one JSON object; ``where`` names its line in errors.

    Raises
    ------
    RecordError
        If the object does not follow the format.
    InputError
        If question, context or answer are empty, or no unit has text.
    TextError
        If a text cannot be encoded.
    """
    text, separator = _text(record, "question", where), record.get("separator", " ")
    units = record.get("units")
    if not isinstance(units, list) or not units or not all(isinstance(unit, str) for unit in units):
        raise RecordError(f"expected units as a list of texts in {where}, found {_brief(units)}: correct the line")
    if not isinstance(separator, str):
        raise RecordError(f"expected separator as text in {where}, found {_brief(separator)}: correct the line")
    response = record.get("response")
    if response is not None:
        response = _text(record, "response", where)
    context = separator.join(units)
    if len(context) > MOST_CHARACTERS:
        raise RecordError(
            f"expected at most {MOST_CHARACTERS:,} characters of context in {where}, found {len(context):,}: "
            "cut or remove the row"
        )
    places = tuple(place for place, unit in enumerate(units) if unit.strip())
    spans = _spans(units, separator)
    try:
        question = Question.of(text, context, response, [spans[place] for place in places])
    except InputError as error:
        raise type(error)(f"{where}: {error}") from error
    return Row(question, places, tuple(sorted(set(range(len(units))).difference(places))))


def _spans(units: Sequence[str], separator: str) -> list[CharSpan]:
    spans, start = [], 0
    for unit in units:
        spans.append(CharSpan(start, start + len(unit)))
        start += len(unit) + len(separator)
    return spans


def _read(path: Path, group: str) -> list[LabelledQuestion]:
    with open_source(path) as file:
        rows = []
        for item in read_lines(file):
            if isinstance(item, BadLine):
                raise RecordError(f"{item.reason} ({path.name})") from item.error
            rows.append(_labelled(item.record, group, where=f"{path.name}, line {item.line}", line=item.line))
    return rows


def _labelled(record: Mapping[str, Any], group: str, *, where: str, line: int) -> LabelledQuestion:
    row = row_of(record, where)
    gold = _gold(record.get("gold"), row, where)
    alternatives = record.get("gold_sets")
    if alternatives is None:
        sets: tuple[frozenset[int], ...] = (gold,) if gold else ()
    elif isinstance(alternatives, list):
        sets = tuple(found for one in alternatives if (found := _gold(one, row, where)))
    else:
        raise RecordError(f"expected gold_sets as lists of units in {where}, found {_brief(alternatives)}")
    separator = record.get("separator", " ")
    return LabelledQuestion(str(record.get("id", line)), group, row.question, separator, gold, sets)


def _gold(value: Any, row: Row, where: str) -> frozenset[int]:
    """Places of the row's units as facts of the question."""
    fact_of = {place: fact for fact, place in enumerate(row.places)}
    if not isinstance(value, list) or not all(type(place) is int and place in fact_of for place in value):
        raise RecordError(
            f"expected gold as a list of units with text, counted from 0, in {where} with its "
            f"{len(row.places) + len(row.blank)} units, found {_brief(value)}: correct the line"
        )
    return frozenset(fact_of[place] for place in value)


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        found = _brief(value) if name in record else "none"
        raise RecordError(f"expected {name} as text in {where}, found {found}: correct the line")
    return value


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
