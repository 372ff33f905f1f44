"""A run of `heed run` as a log of Inspect, so that ``inspect view`` opens it and ``inspect score`` scores it again.

A `Run` comes in, an ``EvalLog`` of Inspect's own types goes out; each sample brings its grade, and its citation in the
form of the scorer ``heed/citations``.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed import __version__
from heed.errors import InputError, JobError
from heed.extras import require
from heed.integrations.inspect_model import STOP_REASONS

if TYPE_CHECKING:
    from heed.evaluation.runs import Run

_log: Any = require("inspect_ai.log", extra="inspect")
_model: Any = require("inspect_ai.model", extra="inspect")
_scorer: Any = require("inspect_ai.scorer", extra="inspect")

GRADES = {"correct": _scorer.CORRECT, "wrong": _scorer.INCORRECT, "unparsed": _scorer.NOANSWER}
"""Inspect's values of heed's grades; ``N`` counts as 0."""
TOP = 5
"""Recall is counted among so many facts, as the scorer counts by default."""
SUFFIXES = (".json", ".eval")


def write_log(run: "Run", out: Path) -> None:
    """Write a run as an Inspect log: ``.json`` or ``.eval``.

    Raises
    ------
    InputError
        If the file is named otherwise, or there is no sample.
    JobError
        If it cannot be written.
    """
    check_name(out)
    log = log_of(run)
    try:
        _log.write_eval_log(log, str(out.absolute()))
    except OSError as error:
        raise JobError(f"expected to write {out}, found: {error.strerror or error}: choose another place") from error


def check_name(out: Path) -> None:
    """Refuse a name or a place that no log can have, before any work is done.

    Raises
    ------
    InputError
        If the file would be no log of Inspect, or its folder does not exist.
    """
    if out.suffix not in SUFFIXES:
        raise InputError(f"expected a file named {' or '.join(SUFFIXES)} for an Inspect log, found {out}")
    if not out.absolute().parent.is_dir():
        raise InputError(f"expected a folder {str(out.parent)!r} for the log, found none: create it first")


def log_of(run: "Run") -> Any:
    """A run as Inspect's ``EvalLog``.

    Raises
    ------
    InputError
        If there is no sample.
    """
    if not run.samples:
        raise InputError(f"expected a run with samples in {run.folder}, found none: run it first")
    answers, identity = run.config["answers"], _identity(run.config)
    when = _created(run)
    spec = _log.EvalSpec(
        eval_id=identity,
        run_id=identity,
        task_id=identity,
        created=when,
        task=run.task,
        dataset=_log.EvalDataset(
            name=run.task, samples=len(run.samples), sample_ids=[str(sample["id"]) for sample in run.samples]
        ),
        model=f"heed/{answers['model']}",
        model_generate_config=_model.GenerateConfig(
            max_tokens=answers["max_new_tokens"], temperature=answers["temperature"], seed=answers["seed"]
        ),
        config=_log.EvalConfig(),
        packages={"heed": __version__},
        metadata={"heed_run": run.config},
    )
    return _log.EvalLog(
        status="success" if run.finished else "cancelled",
        eval=spec,
        results=_results(run),
        stats=_log.EvalStats(started_at=when, completed_at=when if run.finished else ""),
        samples=[_sample(sample, answers["model"]) for sample in run.samples],
    )


def _identity(config: Mapping[str, Any]) -> str:
    """The same for the same settings."""
    return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:22]


def _created(run: "Run") -> str:
    """When the run's files were last written."""
    newest = max(path.stat().st_mtime for path in run.folder.glob("*.samples.jsonl"))
    return datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")


def _results(run: "Run") -> Any:
    summary = run.summary
    answered = sum(sample["response"] is not None for sample in run.samples)
    grade = {"accuracy": summary.accuracy}
    if summary.interval is not None:
        grade |= {"wilson_low": summary.interval.low, "wilson_high": summary.interval.high}
    scores = [_eval_score("grade", grade, answered, summary.examples - answered)]
    if summary.attention:
        values = {
            name: [value for one in run.samples if not math.isnan(value := _values(one)[name])]
            for name in ("context_mass", "recall")
        }
        scores += [
            _eval_score(name, {"mean": sum(known) / len(known)}, len(known), summary.examples - len(known))
            for name, known in values.items()
            if known
        ]
    return _log.EvalResults(total_samples=summary.examples, completed_samples=answered, scores=scores)


def _eval_score(name: str, metrics: Mapping[str, float | None], scored: int, unscored: int) -> Any:
    found = {key: _log.EvalMetric(name=key, value=value) for key, value in metrics.items() if value is not None}
    scorer = "grade" if name == "grade" else "citations"
    return _log.EvalScore(name=name, scorer=scorer, metrics=found, scored_samples=scored, unscored_samples=unscored)


def _sample(sample: Mapping[str, Any], model: str) -> Any:
    asked = sample["prompt"] or "\n\n".join(part for part in (sample["context"], sample["question"]) if part)
    messages = [_model.ChatMessageUser(content=asked, source="input", id=f"{sample['id']}-asked")]
    more: dict[str, Any] = {}
    if sample["response"] is None:
        more["error"] = _log.EvalError(message=str(sample["error"]), traceback="", traceback_ansi="")
    else:
        more["output"] = _output(sample)
        messages.append(more["output"].choices[0].message)
        more["scores"] = _scores(sample, messages[0].id)
    return _log.EvalSample(
        id=str(sample["id"]),
        epoch=1,
        input=asked,
        target=sample["target"],
        messages=messages,
        metadata=_metadata(sample),
        total_time=sum(sample["seconds"].values()),
        working_time=sample["seconds"]["answer"],
        model_usage={model: more["output"].usage} if "output" in more and more["output"].usage else {},
        **more,
    )


def _output(sample: Mapping[str, Any]) -> Any:
    message = _model.ChatMessageAssistant(
        content=sample["response"], source="generate", model=sample["model"], id=f"{sample['id']}-answer"
    )
    choice = _model.ChatCompletionChoice(message=message, stop_reason=STOP_REASONS[sample["finish"]])
    usage = sample["usage"]
    if usage is not None:
        read, written = usage["prompt_tokens"], usage["completion_tokens"]
        usage = _model.ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
    return _model.ModelOutput(
        model=sample["model"], choices=[choice], usage=usage, time=sample["seconds"]["answer"], error=sample["error"]
    )


def _metadata(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What ``heed/citations`` needs to read the sample again (the question is found in the prompt), and its place."""
    attention, context = sample["attention"], sample["context"]
    units = [] if attention is None else attention["units"]
    about = {
        "index": sample["index"],
        "context": [context[start:end] for start, end in units] or context or None,
        "gold": sample["gold"] if units else None,
        "artefacts": None if attention is None else attention["folder"],
    }
    return {name: value for name, value in about.items() if value is not None}


def _scores(sample: Mapping[str, Any], asked: str) -> dict[str, Any]:
    about = {name: sample[name] for name in ("status", "grade", "expects")}
    graded = GRADES[sample["grade"]]
    found = None if sample["found"] is None else str(sample["found"])
    scores = {"grade": _scorer.Score(value=graded, answer=found, explanation=sample["error"], metadata=about)}
    attention = sample["attention"]
    if attention is None:
        return scores
    if attention["status"] != "ok":
        scores["citations"] = _scorer.Score.unscored(reason=attention["status"], explanation=attention["reason"])
        return scores
    texts = [f"{rank}. {fact['text']} [M1]" for rank, fact in enumerate(attention["facts"], 1)]
    scores["citations"] = _scorer.Score(
        value=_values(sample),
        answer=sample["response"],
        explanation="\n".join([f"The answer rests most on (read by {attention['read_by']}):", "", *texts]),
        metadata={
            "facts": [{"rank": rank, **fact} for rank, fact in enumerate(attention["facts"], 1)],
            "gold": sample["gold"],
            "units": len(attention["units"]),
            "model": attention["read_by"],
            "artefacts": attention["folder"],
            "scanner_references": [_scorer.Reference(type="message", cite="[M1]", id=asked).model_dump()],
        },
    )
    return scores


def _values(sample: Mapping[str, Any]) -> dict[str, float]:
    from heed.evaluation.runs.summary import recall

    attention = sample["attention"]
    mass = None if attention is None else attention["context_mass"]
    found = recall(sample, TOP)
    return {"context_mass": math.nan if mass is None else mass, "recall": math.nan if found is None else found}
