"""The samples of a run on disk: read back, told to people in a log, and summed up in one JSON file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TextIO

from heed.errors import InputError, JobError
from heed.evaluation.runs.place import Place, parts_of, runs_under
from heed.evaluation.runs.summary import Summary, summarise
from heed.jobs.lines import BadLine, Item, Record, open_source, parse_line, read_lines
from heed.jobs.manifest import read_manifest
from heed.jobs.output import storing, sync_folder, write_atomically
from heed.text.evidence import Evidence, Passage, Scene, WeightedSpan
from heed.text.span import CharSpan

SCHEMA = 1
"""Version of the samples and of the results."""
SHOWN = 8
"""Examples in a run's picture."""
_NONE = type(None)
_FIELDS: dict[str, tuple[type, ...]] = {
    "index": (int,),
    **dict.fromkeys(("id", "context", "question", "status", "model"), (str,)),
    **dict.fromkeys(("prompt", "response", "grade", "found", "error", "finish"), (str, _NONE)),
    "target": (str, list),
    "expects": (dict,),
    "gold": (list, _NONE),
    "usage": (dict, _NONE),
    "attention": (dict, _NONE),
    "seconds": (dict,),
}
_INNER: dict[str, dict[str, tuple[type, ...]]] = {
    "seconds": dict.fromkeys(("answer", "attention"), (float, int)),
    "attention": {
        **dict.fromkeys(("status", "reason", "read_by", "folder"), (str,)),
        **dict.fromkeys(("facts", "units", "ranking"), (list,)),
        "context_mass": (float, int, _NONE),
    },
}
"""The fields of a sample that are used, and what they may be."""
_RESULT_FIELDS = ("index", "id", "status", "grade", "found", "target", "response", "error", "seconds")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it lies on disk: all ranges of its folder together, each example once, in order."""

    folder: Path
    task: str
    config: Record
    samples: tuple[Record, ...]
    finished: bool
    """Whether every range was run to its end."""

    @property
    def summary(self) -> Summary:
        """What the samples amount to."""
        return summarise(self.samples)

    @property
    def name(self) -> str:
        """Model and task."""
        return f"{self.config['answers']['model']} on {self.task}"

    def scene(self) -> Scene:
        """As a picture: what it amounts to, and its first examples with the facts that were cited."""
        summary, shown = self.summary, self.samples[:SHOWN]
        facts = [("model", str(self.config["answers"]["model"])), ("examples", str(summary.examples))]
        if summary.recall is not None:
            facts += [
                (f"gold facts among the first {cut[1:]}", f"{share:.1%}") for cut, share in summary.recall.items()
            ]
        if summary.overhead is not None:
            facts.append(("attention's share of the time", f"{summary.overhead:.1%} of answering"))
        rest = f"{len(shown)} of {len(self.samples)} examples are shown; `heed run report` shows all"
        return Scene(
            title=f"Run: {self.name}",
            headline=summary.line,
            tone="neutral",
            passages=tuple(passage for sample in shown for passage in _passages(sample)),
            facts=tuple(facts),
            notes=(rest,) if len(shown) < len(self.samples) else (),
        )


def _passages(sample: Record) -> Iterator[Passage]:
    """Context with its cited facts, the better the stronger, question and answer of one sample."""
    name = f"example {sample['index']}"
    if sample.get("context"):
        facts = (sample.get("attention") or {}).get("facts") or []
        shares = [1.0 / place for place in range(1, len(facts) + 1)]
        marks = [
            WeightedSpan(CharSpan(fact["start"], fact["end"]), share / sum(shares))
            for fact, share in zip(facts, shares, strict=True)
        ]
        yield Passage(f"{name}: context", Evidence(sample["context"], tuple(marks)), "facts, the better the stronger")
    yield Passage(f"{name}: question", Evidence(sample["question"]))
    answer = sample["response"] if sample.get("response") is not None else sample.get("error") or ""
    yield Passage(f"{name}: answer ({sample['grade']})", Evidence(str(answer)))


def read_run(folder: Path) -> Run:
    """Read a run, finished or not, from its folder ``OUT/<model>/<task>`` (or from ``OUT``, where it is the only one).

    Raises
    ------
    InputError
        If there is no run, or more than one.
    JobError
        If a manifest is damaged or missing, or a line is no sample.
    """
    parts = parts_of(folder)
    if not parts:
        below = runs_under(folder)
        if len(below) != 1:
            found = f"{len(below)}: {', '.join(str(one) for one in below[:4])}" if below else "none"
            raise InputError(
                f"expected a run's folder (OUT/<model>/<task>), found {folder}; runs below it: {found}: name one"
            )
        parts = parts_of(below[0])
    manifests = [read_manifest(part.samples) for part in parts]
    known = [manifest for manifest in manifests if manifest is not None]
    if len(known) < len(parts):
        raise JobError(f"expected a manifest beside each samples file in {parts[0].folder}, found none for one of them")
    samples: dict[int, Record] = {}
    for part in parts:
        for sample in read_samples(part.samples):
            samples.setdefault(sample["index"], sample)
    ordered = tuple(samples[index] for index in sorted(samples))
    return Run(parts[0].folder, parts[0].task, known[0].config, ordered, all(one.finished for one in known))


def read_samples(path: Path) -> list[Record]:
    """The whole lines of a samples file; a last line without an end was in flight and is left out.

    Raises
    ------
    JobError
        If a line is no sample; the message names file, line and field.
    """
    return list(_samples(path))


def _samples(path: Path) -> Iterator[Record]:
    with open_source(path) as file:
        torn = _torn(path)
        for item in read_lines(file):
            if item.line == torn:
                return
            yield _checked(item, path)


def _checked(item: Item | BadLine, path: Path) -> Record:
    """The sample on a line."""
    wrong = "other text" if isinstance(item, BadLine) else _fault(item.record)
    if wrong is not None or isinstance(item, BadLine):
        raise JobError(
            f"expected a sample of schema {SCHEMA} on line {item.line} of {path}, found {wrong}: restore the file, or "
            "read it with the version of heed that wrote it"
        )
    return item.record


def _fault(record: Record) -> str | None:
    """What is wrong with a sample."""
    if record.get("schema") != SCHEMA:
        return f"schema {record.get('schema')!r}"
    wrong = _lacking(record, _FIELDS, "")
    for name, fields in _INNER.items():
        if wrong is None and record[name] is not None:
            wrong = _lacking(record[name], fields, f" among {name}")
    return wrong


def _lacking(record: Record, fields: Record, where: str) -> str | None:
    for name, kinds in fields.items():
        if name not in record:
            return f"no {name}{where}"
        if type(record[name]) not in kinds:
            return f"{type(record[name]).__name__} as {name}{where}"
    return None


def _torn(path: Path) -> int | None:
    """The number of a last line without an end."""
    content = path.read_bytes()
    return None if not content or content.endswith(b"\n") else content.count(b"\n") + 1


def write_results(place: Place, config: Record, summary: Summary) -> None:
    """Write settings, summary and grades of a range as one JSON file.

    Raises
    ------
    JobError
        If it cannot be written.
    """
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "task": place.task,
        "range": place.part,
        "config": config,
        "summary": summary.record(),
        "results": [{name: sample[name] for name in _RESULT_FIELDS} for sample in _samples(place.samples)],
    }
    write_atomically(place.results, json.dumps(value, indent=1, allow_nan=False).encode("ascii") + b"\n")


class Log:
    """The log of a range, for people: a line for each sample that is on disk, never one for a sample that is not."""

    def __init__(self, place: Place, config: Record) -> None:
        self._place, self._config = place, config
        self._file: TextIO | None = None
        self._samples: BinaryIO | None = None
        self._told = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            if kind is not None:
                self._line(f"stopped: {kind.__name__}")
            self._file.close()
        if self._samples is not None:
            self._samples.close()

    def follow(self) -> None:
        """Tell of every sample that was written since."""
        if self._file is None:
            with storing(self._place.log):
                self._file = self._place.log.open("w", encoding="utf-8", errors="backslashreplace")
                sync_folder(self._place.folder)
            answers = self._config["answers"]
            self._line(f"{self._place.task} {self._place.part}, answered by {answers['model']}: {json.dumps(answers)}")
            self._samples = self._place.samples.open("rb")
        assert self._samples is not None
        for line in self._samples:
            self._told += 1
            self._line(_told(_checked(parse_line(self._told, line), self._place.samples)))

    def end(self, summary: Summary) -> None:
        """Tell what all of it amounts to."""
        self._line(summary.line)

    def _line(self, text: str) -> None:
        assert self._file is not None
        with storing(self._place.log):
            self._file.write(text + "\n")
            self._file.flush()


def _told(sample: Record) -> str:
    said = sample["error"] if sample["error"] else f"found {sample['found']!r}, expected {sample['target']!r}"
    attention = sample["attention"]
    read = "" if attention is None else f", attention {attention['status']} {attention['reason']}".rstrip()
    seconds = sum(sample["seconds"].values())
    return f"{sample['index']:04d} {sample['id']}: {sample['grade'] or sample['status']}, {said}, {seconds:.2f} s{read}"
