"""One example of a task, and the prompt it becomes. Text only; it knows neither models nor graders."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heed.errors import RecordError
from heed.text.span import CharSpan

BLANK_LINE = "\n\n"
_HOLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
_QUESTION = re.compile(r"^question\s*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a task.

    ``index`` is its true place in the task's file, from 0. ``context`` is empty where the input is a question alone.
    """

    index: int
    id: str
    context: str
    question: str
    target: str | tuple[str, ...]
    """The right answer; several where any of them is right."""
    expects: Mapping[str, Any] = field(default_factory=dict)
    """How to grade: `grader` and its settings, as far as the example names them."""
    units: tuple[CharSpan, ...] | None = None
    """The facts of the context, where the task names them; else its sentences."""
    gold: tuple[int, ...] | None = None
    """The units that the answer rests on, where the task knows."""

    @property
    def input(self) -> str:
        """Context and question, a blank line between."""
        return BLANK_LINE.join(part for part in (self.context, self.question) if part)

    def record(self) -> dict[str, Any]:
        """As one JSON object: what a job's source line holds."""
        return {
            "index": self.index,
            "id": self.id,
            "context": self.context,
            "question": self.question,
            "target": list(self.target) if isinstance(self.target, tuple) else self.target,
            "expects": dict(self.expects),
            "units": None if self.units is None else [[span.start, span.end] for span in self.units],
            "gold": None if self.gold is None else list(self.gold),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Example":
        """Read what `record` wrote."""
        target, units, gold = record["target"], record["units"], record["gold"]
        return cls(
            index=record["index"],
            id=record["id"],
            context=record["context"],
            question=record["question"],
            target=tuple(target) if isinstance(target, list) else target,
            expects=record["expects"],
            units=None if units is None else tuple(CharSpan(*span) for span in units),
            gold=None if gold is None else tuple(gold),
        )


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked: text before the context, the context itself, and what stands behind it."""

    before: str
    context: str
    after: str

    @property
    def text(self) -> str:
        """The user's turn: a blank line sets off what stands behind the context."""
        return BLANK_LINE.join(part for part in (self.before + self.context, self.after) if part)


def split_input(text: str) -> tuple[str, str]:
    """An input in one piece into context and question.

    The question begins at the last line that opens with ``Question:``, else it is the last paragraph; an input of one
    paragraph is a question without a context.
    """
    text = text.strip()
    named = list(_QUESTION.finditer(text))
    if named:
        place = named[-1].start()
        return text[:place].rstrip(), text[place:]
    context, _, question = text.rpartition(BLANK_LINE)
    return context.rstrip(), question.lstrip()


def check_template(template: str, *, where: str) -> str:
    """A template that can be filled.

    It holds ``{context}`` once and ``{question}`` behind it, or ``{input}`` for both (``{context}``, a blank line,
    ``{question}``). Braces of its own are doubled.

    Raises
    ------
    RecordError
        If it does not, or names anything else.
    """
    names = [match[1] for match in _HOLE.finditer(_whole(template)) if match[1]]
    unknown = sorted({*names} - {"context", "question"})
    if unknown:
        raise RecordError(
            f"expected only {{context}}, {{question}} or {{input}} in {where}, found {{{unknown[0]}}}: correct it, or "
            "double the braces that are text"
        )
    if names.count("context") != 1 or "question" not in names[names.index("context") + 1 :]:
        raise RecordError(
            f"expected {{input}}, or {{context}} once and {{question}} behind it, in {where}, found "
            f"{', '.join(f'{{{name}}}' for name in names) or 'neither'}: correct the template"
        )
    return template


def fill(template: str, example: Example) -> Prompt:
    """Fill a template with an example; what stands around a missing context is left out with it."""
    before, after = _whole(template).split("{context}", 1)
    rest = _filled(after, example).strip()
    if not example.context:
        return Prompt("", "", BLANK_LINE.join(part for part in (_filled(before, example).strip(), rest) if part))
    return Prompt(_filled(before, example).lstrip(), example.context, rest)


def _whole(template: str) -> str:
    return template.replace("{input}", "{context}" + BLANK_LINE + "{question}")


def _filled(text: str, example: Example) -> str:
    def word(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else example.question

    return _HOLE.sub(word, text)
