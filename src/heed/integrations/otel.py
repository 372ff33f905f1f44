"""Verdicts as OpenTelemetry spans: what the guard said and what was enforced, apart; nothing of the text.

`record` fits the ``on_verdict`` of every adapter. Names are heed's own (``heed.guard.*``): the GenAI conventions for
guardrails are not settled yet.
"""

from time import time_ns
from typing import TYPE_CHECKING

from heed import __version__
from heed.extras import require

if TYPE_CHECKING:
    from heed.guard import Verdict
    from heed.integrations.screen import Enforced

_trace = require("opentelemetry.trace", extra="otel")


def record(verdict: "Verdict", enforced: "Enforced") -> None:
    """Record one verdict as a span ``heed.guard.check`` that ends now and lasted the verdict's ``seconds``.

    Its attributes, each behind ``heed.guard.``: ``status``, ``verdict`` (``flagged``, ``review``, ``fine`` or
    ``abstained``), ``score``, ``threshold``, ``probability`` (where known), ``seconds``, ``tokens``, ``model``. What
    was enforced is the event ``heed.guard.enforced`` with ``heed.guard.action``. A verdict's reason, spans and notes
    quote the text, and stay behind.
    """
    judged = "flagged" if verdict.flagged else "review" if verdict.action == "review" else "fine"
    said = "abstained" if verdict.flagged is None else judged
    numbers = {"score": verdict.score, "threshold": verdict.threshold, "probability": verdict.probability}
    facts: dict[str, str | float] = {"status": verdict.status, "verdict": said, "seconds": verdict.seconds}
    facts |= {"tokens": verdict.tokens, "model": verdict.model}
    facts |= {name: value for name, value in numbers.items() if value is not None}
    end = time_ns()
    tracer = _trace.get_tracer("heed", __version__)
    attributes = {f"heed.guard.{name}": value for name, value in facts.items()}
    span = tracer.start_span("heed.guard.check", attributes=attributes, start_time=end - round(verdict.seconds * 1e9))
    span.add_event("heed.guard.enforced", {"heed.guard.action": enforced}, timestamp=end)
    span.end(end)
