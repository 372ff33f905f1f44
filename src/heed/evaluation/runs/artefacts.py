"""The attention of one answer as a folder of files that any program reads: JSON, Markdown, and arrays without pickle.

An analysis comes in; `top_k/example_0010/` goes out, whole or not at all. The names of the files are those of the job
runner this follows; what they hold is described in docs/runs.md.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heed.evaluation.runs.example import Example
from heed.evaluation.runs.reader import Analysis
from heed.evaluation.runs.rows import AnswerAttention, Weights
from heed.jobs.output import storing, sync_folder

SCHEMA = 1
"""Version of the files."""
INDEX = "analysis_summary.json"


def folder_name(index: int) -> str:
    """``example_0010``: the example's true place in its task, from 0."""
    return f"example_{index:04d}"


def write_artefacts(folder: Path, example: Example, response: str, analysis: Analysis, about: Mapping[str, Any]) -> int:
    """Write an analysis into a folder of its own; an earlier one is replaced. Returns the bytes written.

    ``about`` says of which run, model and settings it is, and goes into the index.

    Raises
    ------
    JobError
        If the files cannot be written.
    """
    contents = _contents(example, response, analysis)
    draft = folder.with_name(f".{folder.name}.tmp")
    with storing(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, arrays in _arrays(analysis).items():
            with (draft / name).open("wb") as file:
                np.savez(file, **arrays)
        for name, text in contents.items():
            (draft / name).write_text(text, encoding="utf-8")
        index = _index(example, analysis, about, draft)
        (draft / INDEX).write_text(_json(index), encoding="utf-8")
        _to_disk(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
        sync_folder(folder.parent)
        return sum(file["bytes"] for file in index["files"].values())


def _contents(example: Example, response: str, analysis: Analysis) -> dict[str, str]:
    if analysis.citation is None:
        return {}
    cited = analysis.citation.record()
    facts = [{"rank": rank, **fact} for rank, fact in enumerate(cited["facts"], 1)]
    config = {"method": cited["method"], **cited["settings"], "rows": cited["rows"], "model": cited["model"]}
    results = {
        "retrieved_facts": facts,
        "fact_scores": cited["scores"],
        "ranking": cited["ranking"],
        "fact_spans": [[span.start, span.end] for span in analysis.citation.units],
        "response_sentences": cited["sentences"],
        "context_mass": cited["context_mass"],
        "config": config,
        "summary": {
            "total_facts_retrieved": len(facts),
            "total_facts_analyzed": len(cited["scores"]),
            "windows": cited["windows"],
            "passes": cited["passes"],
            "seconds": analysis.seconds,
        },
    }
    top = {
        "example_idx": example.index,
        "id": example.id,
        "input": example.input,
        "response": response,
        "top_retrieved_facts": facts,
        "gold": None if example.gold is None else list(example.gold),
        "config": config,
    }
    return {
        "attrieval_results.json": _json(results),
        "attrieval_analysis_report.md": _markdown(example, response, analysis),
        "top_facts_summary.json": _json(top),
    }


def _markdown(example: Example, response: str, analysis: Analysis) -> str:
    cited = analysis.citation
    assert cited is not None
    mass = "" if cited.context_mass is None else f" {cited.context_mass:.1%} of the attention reached the context."
    lines = [
        f"# Example {example.index}: {example.id}",
        "",
        f"Read by {cited.model}, method {cited.method}, in {analysis.seconds:.2f} s.{mass}",
        "",
        "Question:",
        "",
        _quoted(example.question),
        "",
        "Answer:",
        "",
        _quoted(response),
        "",
        "Facts, best first:",
        "",
        "| rank | fact | score | looked at by | characters | text |",
        "|---|---|---|---|---|---|",
    ]
    gold = set(example.gold or ())
    for rank, fact in enumerate(cited.facts, 1):
        often = "" if fact.frequency is None else f"{fact.frequency:.0%}"
        text = " ".join(fact.text.split()).replace("|", "\\|")
        mark = " (gold)" if fact.index in gold else ""
        span = f"{fact.span.start}–{fact.span.end}"
        lines.append(f"| {rank} | {fact.index}{mark} | {fact.score:.4g} | {often} | {span} | {text} |")
    return "\n".join([*lines, "", "Attention is evidence of what was looked at, not proof of what was used.", ""])


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def _arrays(analysis: Analysis) -> dict[str, dict[str, Any]]:
    rows, cited = analysis.rows, analysis.citation
    if rows is None or cited is None:
        return {}
    tokens = {
        "response_offsets": rows.response_offsets,
        "context_offsets": rows.context_offsets,
        "response_ids": rows.response_ids,
        "context_ids": rows.context_ids,
    }
    found = {
        "fact_scores": np.asarray(cited.scores, dtype=np.float32),
        "fact_spans": np.array([(span.start, span.end) for span in cited.units], dtype=np.int32),
        "ranking": np.array(cited.ranking, dtype=np.int32),
    }
    return {
        "essential_attention_data.npz": {
            "layers": np.array(rows.layers, dtype=np.int32),
            **_weights("attention", rows.essential),
            **tokens,
        },
        "attrieval_attention_data.npz": {
            "layers": np.array(rows.averaged_layers, dtype=np.int32),
            **_weights("aggregated_attention", rows.averaged),
            **tokens,
            **found,
        },
    }


def _weights(name: str, weights: Weights) -> dict[str, np.ndarray]:
    return {name: weights.values, **({} if weights.places is None else {f"{name}_places": weights.places})}


def _index(example: Example, analysis: Analysis, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "example_idx": example.index,
        "id": example.id,
        "status": analysis.status,
        "reason": analysis.reason,
        **about,
        "seconds": analysis.seconds,
        "attention": None if analysis.rows is None else _described(analysis.rows),
        "files": {path.name: {"bytes": path.stat().st_size} for path in sorted(folder.iterdir())},
    }


def _described(rows: AnswerAttention) -> dict[str, Any]:
    return {
        "dtype": "float16",
        "layers": list(rows.layers),
        "aggregated_layers": list(rows.averaged_layers),
        "response_tokens": len(rows.response_ids),
        "context_tokens": len(rows.context_ids),
        "essential": {"shape": list(rows.essential.values.shape), "sparse": rows.essential.sparse},
        "aggregated": {"shape": list(rows.averaged.values.shape), "sparse": rows.averaged.sparse},
        "seconds": rows.seconds,
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _to_disk(folder: Path) -> None:
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    sync_folder(folder)
