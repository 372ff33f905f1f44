"""Tasks: a file of examples, or the name of one that heed ships, comes in; checked examples and templates go out.

`heed.evaluation.runs.task_file` reads the file; here is what its records mean. It knows neither models nor answers.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from heed.citation.question import Question
from heed.errors import InputError, RecordError
from heed.evaluation.runs.example import Example, check_template, split_input
from heed.evaluation.runs.graders import grader_of
from heed.evaluation.runs.task_file import SUFFIXES, read_task_file, read_text
from heed.settings import settings

TEMPLATES: Mapping[str, str] = {
    "explain": (
        "{context}\n\n{question}\n\nSay in one or two sentences which facts above decide this. Then end with a line "
        "that begins with 'Answer:' and holds nothing but the answer."
    ),
    "brief": "{context}\n\n{question}\n\nReply with 'Answer:' and the answer, nothing else.",
    "plain": "{input}",
}
"""Templates by name; the first is used where neither task nor caller names one."""

FIELDS = ("id", "input", "context", "question", "target", "units", "separator", "gold")
"""What an example may hold, beside the settings of its grader."""
SETTINGS = ("grader", "tolerance", "lower", "upper")
_TASK_KEYS = {"name", "description", "template", "templates", "grader", "tolerance", "fields", "examples"}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Task:
    """Examples with the templates that were made for them."""

    name: str
    examples: tuple[Example, ...]
    templates: Mapping[str, str]
    """The task's own and heed's, by name; the first is the default."""
    description: str = ""

    def template(self, name: str | None = None) -> tuple[str, str]:
        """A template's name and text: by name, or from a file; the default without a name.

        Raises
        ------
        InputError
            If there is neither a template nor a file of that name, or the file cannot be used.
        """
        if name is None:
            name = next(iter(self.templates))
        if name in self.templates:
            return name, self.templates[name]
        path = Path(name)
        if not path.is_file():
            raise InputError(
                f"expected a template among {', '.join(self.templates)}, or a file, found {name!r}: correct the name"
            )
        return path.stem, check_template(read_text(path), where=str(path))


def task_names() -> tuple[str, ...]:
    """The tasks that heed ships and those of the settings' folder, by name."""
    return tuple(sorted(_named_files()))


def load_task(name: str | Path, *, fields: Mapping[str, str] | None = None) -> Task:
    """Read a task by its file or by its name, and check every example.

    A file of that path comes first, then one of that name in the folder ``HEED_TASKS_DIR``, then heed's own.
    ``fields`` says under which names the file holds what heed calls input, context, question, target, id, units, gold.

    Raises
    ------
    InputError
        If there is no such file and no such task; the message names those that are near.
    RecordError
        If the file does not follow its format; the message names line or example, and field.
    """
    known = _named_files()
    path = Path(name) if Path(name).is_file() else known.get(str(name))
    if path is None:
        near = get_close_matches(str(name), known, n=3, cutoff=0.4) or sorted(known)
        raise InputError(
            f"expected a task file or the name of a task, found {str(name)!r}: nearest are {', '.join(near)}; tasks of "
            f"your own are found by name in {settings().tasks_dir}"
        )
    return _task(read_text(path), path.suffix.lower(), stem=path.stem, where=path.name, fields=fields or {})


def _named_files() -> dict[str, Path]:
    own = settings().tasks_dir
    shipped = Path(str(files("heed.evaluation.runs").joinpath("tasks")))
    found = [*sorted(shipped.iterdir()), *(sorted(own.iterdir()) if own.is_dir() else ())]
    return {path.stem: path for path in found if path.suffix.lower() in SUFFIXES}


def pick(
    task: Task, *, lo: int | None = None, hi: int | None = None, limit: int | None = None, ids: Iterable[str] = ()
) -> tuple[str, tuple[Example, ...]]:
    """The examples of a run, with the name of the choice: ``10-20`` for lo to hi (hi is left out), ``ids-…`` for ids.

    Ids are those of the examples; a number that is no id counts examples from 0.

    Raises
    ------
    InputError
        If nothing is left, or an id is unknown.
    """
    wanted = list(ids)
    if wanted:
        if not lo == hi == limit == None:  # noqa: E711 - a chain
            raise InputError("expected ids or a range of examples, found both: leave one out")
        chosen = tuple(task.examples[index] for index in sorted({_named(task, one).index for one in wanted}))
        digest = hashlib.sha256(",".join(str(example.index) for example in chosen).encode()).hexdigest()
        numbers = "-".join(str(example.index) for example in chosen)
        return f"ids-{numbers}" if len(numbers) <= 40 else f"ids-{len(chosen)}-{digest[:8]}", chosen
    start, stop = lo or 0, len(task.examples) if hi is None else min(hi, len(task.examples))
    if limit is not None:
        stop = min(stop, start + limit)
    if not 0 <= start < stop:
        raise InputError(
            f"expected a range within the {len(task.examples)} examples of {task.name}, found {start} to "
            f"{stop if hi is None else hi}: choose lo < hi, counted from 0"
        )
    return f"{start}-{stop}", task.examples[start:stop]


def _named(task: Task, name: str) -> Example:
    found = next((example for example in task.examples if example.id == name), None)
    if found is None and name.isascii() and name.isdigit() and int(name) < len(task.examples):
        found = task.examples[int(name)]
    if found is None:
        near = get_close_matches(name, [example.id for example in task.examples], n=3, cutoff=0.4)
        hint = f": nearest are {', '.join(near)}" if near else ": `heed run validate` lists none of that name"
        raise InputError(f"expected an id of an example in {task.name}, found {name!r}{hint}")
    return found


def _task(text: str, kind: str, *, stem: str, where: str, fields: Mapping[str, str]) -> Task:
    head, records = read_task_file(text, kind, where)
    unknown = sorted({*head} - _TASK_KEYS)
    if unknown:
        raise RecordError(f"expected {', '.join(sorted(_TASK_KEYS))} in {where}, found {unknown[0]!r}: correct it")
    names = {**_mapping(head, "fields", where), **fields}
    strange = sorted({*names} - {*FIELDS, *SETTINGS})
    if strange:
        raise RecordError(f"expected fields among {', '.join(FIELDS)} to be mapped, found {strange[0]!r}: correct it")
    name = head.get("name", re.sub(r"[^\w.-]", "_", stem).lstrip("._-") or "task")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecordError(f"expected letters, digits, . _ - as the name of {where}, found {name!r}: rename it")
    shared = {key: head[key] for key in SETTINGS if key in head}
    examples = tuple(_example(at, place, record, names, shared) for at, (place, record) in enumerate(records))
    if not examples:
        raise RecordError(f"expected at least one example in {where}, found none")
    seen: dict[str, int] = {}
    for example in examples:
        if seen.setdefault(example.id, example.index) != example.index:
            raise RecordError(
                f"expected an id of its own for each example of {where}, found {example.id!r} for "
                f"{seen[example.id]} and {example.index}: rename one"
            )
    return Task(name, examples, _templates(head, where), str(head.get("description", "")))


def _templates(head: Mapping[str, Any], where: str) -> dict[str, str]:
    own = {
        key: check_template(value, where=f"template {key} of {where}")
        for key, value in _mapping(head, "templates", where).items()
    }
    first = head.get("template")
    if first is None:
        return {**own, **{key: text for key, text in TEMPLATES.items() if key not in own}}
    if not isinstance(first, str):
        raise RecordError(f"expected a template or its name as template in {where}, found {type(first).__name__}")
    known = {**TEMPLATES, **own}
    key, text = (
        (first, known[first]) if first in known else ("own", check_template(first, where=f"template of {where}"))
    )
    return {key: text, **own, **{other: text for other, text in known.items() if other != key}}


def _mapping(head: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    value = head.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise RecordError(f"expected an object of strings as {key} in {where}, found {value!r:.60}: correct it")
    return value


def _example(
    index: int, place: str, record: Mapping[str, Any], names: Mapping[str, str], shared: Mapping[str, Any]
) -> Example:
    found = {name: record.get(names.get(name, name)) for name in (*FIELDS, *SETTINGS)}
    context, question, units = _parts(place, found, names)
    target = _target(place, found["target"], names.get("target", "target"))
    expects = {**shared, **{name: found[name] for name in SETTINGS if found[name] is not None}}
    grader_of(target, expects, where=place)
    asked = Question.of(question, context, units=units) if units is not None else None
    gold = found["gold"]
    if gold is not None:
        most = len(units or ())
        if not isinstance(gold, list) or not all(type(one) is int and 0 <= one < most for one in gold):
            raise RecordError(f"expected indices of units (0 to {most - 1}) as gold in {place}, found {gold!r:.60}")
    name = found["id"] if found["id"] is not None else str(index)
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        raise RecordError(f"expected text or a number as id in {place}, found {type(name).__name__}")
    return Example(
        index=index,
        id=str(name),
        context=context,
        question=question,
        target=target,
        expects=expects,
        units=None if asked is None else asked.units,
        gold=None if gold is None else tuple(gold),
    )


def _parts(place: str, found: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, str, list[str] | None]:
    """Context, question and units, from whatever of them the example names."""
    texts: dict[str, Any] = {}
    for name in ("input", "context", "question", "separator"):
        value = found[name]
        if value is not None and not isinstance(value, str):
            raise RecordError(f"expected text as {names.get(name, name)} in {place}, found {type(value).__name__}")
        texts[name] = value
    units = found["units"]
    if units is not None and not (isinstance(units, list) and units and all(isinstance(one, str) for one in units)):
        raise RecordError(f"expected a list of texts as {names.get('units', 'units')} in {place}, found {units!r:.60}")
    if texts["question"] is None:
        whole = texts["input"]
        if whole is None or not whole.strip():
            raise RecordError(
                f"expected text as {names.get('input', 'input')} (or as question) in {place}, found the fields "
                f"{_present(found)}: correct the example, or map its fields"
            )
        context, question = split_input(whole)
        return context, question, units
    if not texts["question"].strip():
        raise RecordError(f"expected text as {names.get('question', 'question')} in {place}, found none")
    if texts["context"] is not None:
        return texts["context"], texts["question"], units
    if units is None:
        return texts["input"] or "", texts["question"], None
    return (" " if texts["separator"] is None else texts["separator"]).join(units), texts["question"], units


def _present(found: Mapping[str, Any]) -> str:
    return ", ".join(name for name, value in found.items() if value is not None) or "none"


def _target(place: str, value: Any, name: str) -> str | tuple[str, ...]:
    texts = [_plain(one) for one in (value if isinstance(value, list) else [value])]
    found = [text for text in texts if text is not None]
    if not found or len(found) < len(texts):
        shown = "none" if value is None else repr(value)[:60]
        raise RecordError(f"expected text or a number as {name} in {place}, found {shown}: correct the example")
    return tuple(found) if isinstance(value, list) else found[0]


def _plain(value: Any) -> str | None:
    """A target as text, or None where it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if math.isfinite(value) else None
    return value if isinstance(value, str) and value.strip() else None
