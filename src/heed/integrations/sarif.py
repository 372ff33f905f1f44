"""Verdicts as SARIF 2.1.0, the format in which code scanners and CI services read findings.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0 (2023). A flagged text is a result that failed, one in
the review band a result to review, each with the stretch judged injected as its location (or else the heaviest word);
a text that could not be judged is a notification of the invocation, which then was not successful.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from heed import __version__

if TYPE_CHECKING:
    from heed.guard import Verdict
    from heed.text.evidence import WeightedSpan

FLAGGED, ABSTAINED = "prompt-injection", "abstained"
"""The rule of the results and the descriptor of the notifications."""

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_NEWLINE = re.compile(r"\r\n|\n")


def sarif(verdicts: Sequence[tuple[str, "Verdict"]], *, exit_code: int = 0) -> dict[str, Any]:
    """One run over files.

    Parameters
    ----------
    verdicts
        A path and its verdict, each; columns and offsets count code points, and a byte order mark is not counted.
    exit_code
        What the process will end with.

    Returns
    -------
    dict
        A ``sarifLog``, JSON-ready.
    """
    known = [(name, verdict) for name, verdict in verdicts if verdict.flagged or verdict.action == "review"]
    unknown = [(name, verdict) for name, verdict in verdicts if verdict.flagged is None]
    run = {
        "tool": {"driver": _driver()},
        "columnKind": "unicodeCodePoints",
        "newlineSequences": ["\r\n", "\n"],
        "artifacts": [{"location": {"uri": _uri(name)}, "roles": ["analysisTarget"]} for name, _ in verdicts],
        "results": [_result(name, verdict) for name, verdict in known],
        "invocations": [
            {
                "executionSuccessful": not unknown,
                "exitCode": exit_code,
                "toolExecutionNotifications": [_notification(name, verdict) for name, verdict in unknown],
            }
        ],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _driver() -> dict[str, Any]:
    rule = {
        "id": FLAGGED,
        "name": "PromptInjection",
        "shortDescription": {"text": "The text seems to carry instructions of its own."},
        "fullDescription": {
            "text": "A model that reads this text as data turns its attention away from its instruction, as it does "
            "when injected instructions take over. The locations are the words that raised the risk most."
        },
        "help": {"text": "Read the marked words. Remove the text, or do not hand it to a model that can act."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security", "prompt-injection"]},
    }
    notice = {
        "id": ABSTAINED,
        "name": "Abstained",
        "shortDescription": {"text": "The text could not be judged, and does not count as fine."},
        "defaultConfiguration": {"level": "error"},
    }
    return {"name": "heed", "version": __version__, "rules": [rule], "notifications": [notice]}


def _result(name: str, verdict: "Verdict") -> dict[str, Any]:
    named = verdict.spans or (None,)
    places = [_location(name, verdict.data, span) for span in named]
    related = [{"id": number, **place} for number, place in enumerate(places[1:], start=1)]
    numbers = {"score": verdict.score, "threshold": verdict.threshold, "probability": verdict.probability}
    return {
        "ruleId": FLAGGED,
        "ruleIndex": 0,
        "kind": "fail" if verdict.flagged else "review",
        "level": "error" if verdict.flagged else "none",
        "message": {"text": verdict.reason},
        "locations": places[:1],
        **({"relatedLocations": related} if related else {}),
        "properties": {key: value for key, value in numbers.items() if value is not None},
    }


def _notification(name: str, verdict: "Verdict") -> dict[str, Any]:
    return {
        "descriptor": {"id": ABSTAINED, "index": 0},
        "level": "error",
        "message": {"text": f"{verdict.status}: {verdict.reason}"},
        "locations": [_location(name, verdict.data, None)],
    }


def _location(name: str, text: str, span: "WeightedSpan | None") -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(name)}}
    if span is None:
        return {"physicalLocation": place}
    region = _region(text, span.start, span.end)
    weight = f"{span.weight:.0%} of what raised the risk"
    return {"physicalLocation": {**place, "region": region}, "message": {"text": weight}}


def _region(text: str, start: int, end: int) -> dict[str, int]:
    """Where a stretch lies: lines and columns from 1, offsets from 0; its end is exclusive."""
    mark = text.startswith("\ufeff")
    text, start, end = text[mark:], max(0, start - mark), max(0, end - mark)
    lines = [0, *(found.end() for found in _NEWLINE.finditer(text))]
    first, last = bisect_right(lines, start), bisect_right(lines, max(start, end - 1))
    return {
        "startLine": first,
        "startColumn": start - lines[first - 1] + 1,
        "endLine": last,
        "endColumn": end - lines[last - 1] + 1,
        "charOffset": start,
        "charLength": end - start,
    }


def _uri(name: str) -> str:
    """A path as a URI: relative as it was given, absolute as ``file:``; ``-`` is stdin."""
    if name == "-":
        return "stdin"
    path = PurePath(name)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
