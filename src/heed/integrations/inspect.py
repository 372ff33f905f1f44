"""For Inspect (``inspect_ai``): the scorer ``heed/citations``, and models named ``heed/…`` (see `inspect_model`).

The scorer says which facts of its context each answer rests on. It needs no new answers: a local model reads the
logged messages with the logged answer behind them, so it works on any finished log, whoever answered::

    inspect score logs/my.eval --scorer heed/citations --action append

Installed with the extra ``inspect``; Inspect finds it by its entry point, and imports this module whenever it runs:
nothing heavy is imported before a sample is scored.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from heed.errors import InputError
from heed.extras import require
from heed.integrations.inspect_model import heed

__all__ = ["citations", "heed"]

if TYPE_CHECKING:
    from heed.citation import Citation, Fact
    from heed.integrations.conversation import Conversation, Turn
    from heed.model import Model

_scorer: Any = require("inspect_ai.scorer", extra="inspect")
_anyio = require("anyio", extra="inspect")


@_scorer.scorer(
    metrics={name: [_scorer.mean(), _scorer.stderr()] for name in ("context_mass", "recall")}, name="citations"
)
def citations(
    model: str = "embedded",
    *,
    method: str = "learned",
    top: int = 5,
    context: str = "context",
    question: str = "question",
    gold: str = "gold",
    dtype: str = "auto",
    device: str | None = None,
) -> Any:
    """Cite what each answer rests on.

    The context is what users and tools said, the question the end of the last user message, unless the sample's
    metadata says more: ``context`` (the context to the letter, or the list of its facts), ``question``, and ``gold``
    (the numbers, from 0, of the facts that should be found: places in that list, or sentences of the context).

    Values of a score: ``context_mass``, the share of the reading model's attention that reached the context (NaN for
    methods without attention), and ``recall``, the share of gold facts among the ``top`` (NaN without gold). Its
    metadata names the facts with their places in the messages, and the model that read them. A sample that cannot be
    cited is left unscored, with the reason.

    Parameters
    ----------
    model, dtype, device, method, top
        The local model that reads, see `heed.load`; and how, see `heed.cite`.
    context, question, gold
        Where the sample's metadata holds them.
    """

    @lru_cache(maxsize=1)
    def loaded() -> "Model":
        from heed.model import load

        return load(model, dtype=dtype, device=device)

    one_at_a_time = _anyio.CapacityLimiter(1)
    keys = {"context": context, "question": question, "gold": gold}

    def read(state: Any) -> Any:
        from heed.citation import cite
        from heed.integrations.conversation import conversation

        named = {name: (state.metadata or {}).get(key) for name, key in keys.items()}
        try:
            asked = conversation(turns_of(state.messages), context=named["context"], question=_text(named["question"]))
            found = cite(
                loaded(), asked.context, asked.question, asked.response, method=method, units=asked.units, top=top
            )
            wanted = _gold(named["gold"], len(found.units))
            return _score(found, asked, state.messages, wanted=wanted, top=top, fingerprint=loaded().fingerprint)
        except InputError as error:
            return _scorer.Score.unscored(reason="not_citable", explanation=f"heed: {error}")

    async def score(state: Any, target: Any) -> Any:
        del target
        return await _anyio.to_thread.run_sync(read, state, limiter=one_at_a_time)

    return score


def turns_of(messages: Sequence[Any]) -> "list[Turn]":
    """Inspect's messages up to the last answer of the assistant that has text, as turns."""
    from heed.integrations.conversation import Turn

    turns = [Turn(message.role, message.text) for message in messages]
    last = max((at for at, turn in enumerate(turns) if turn.role == "assistant" and turn.text.strip()), default=-1)
    return turns[: last + 1]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _score(
    found: "Citation",
    asked: "Conversation",
    messages: Sequence[Any],
    *,
    wanted: list[int] | None,
    top: int,
    fingerprint: str,
) -> Any:
    from heed.measure import recall_at

    facts = [_fact(rank, fact, asked, messages) for rank, fact in enumerate(found.facts, 1)]
    record = found.record()
    kept = ("question", "sentences", "model", "method", "settings", "windows", "passes", "seconds")
    return _scorer.Score(
        value={
            "context_mass": math.nan if found.context_mass is None else found.context_mass,
            "recall": math.nan if wanted is None else recall_at(found.ranking, wanted, top),
        },
        answer=asked.response,
        explanation=_explained(found, facts),
        metadata={
            "facts": facts,
            "gold": wanted,
            "units": len(found.units),
            "fingerprint": fingerprint,
            **{name: record[name] for name in kept},
            "scanner_references": _references(facts),
        },
    )


def _fact(rank: int, fact: "Fact", asked: "Conversation", messages: Sequence[Any]) -> dict[str, Any]:
    number, span = asked.place(fact.span)
    return {
        "rank": rank,
        "index": fact.index,
        "text": fact.text,
        "score": fact.score,
        "frequency": fact.frequency,
        "message": number,
        "message_id": messages[number].id,
        "start": span.start,
        "end": span.end,
    }


def _gold(value: Any, units: int) -> list[int] | None:
    if value is None:
        return None
    known = isinstance(value, list | tuple) and all(isinstance(one, int) and 0 <= one < units for one in value)
    if not known or not value:
        raise InputError(f"expected gold as numbers of facts from 0 to {units - 1}, found {value!r:.80}")
    return sorted({*value})


def _explained(found: "Citation", facts: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{fact['rank']}. {fact['text']} [M{fact['message'] + 1}]" for fact in facts]
    mass = "" if found.context_mass is None else f"; {found.context_mass:.1%} of the attention reached the context"
    return "\n".join([f"The answer rests most on (read by {found.model}, {found.method}{mass}):", "", *lines])


def _references(facts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages that the explanation names, so that Inspect's viewer links to them."""
    ids = {fact["message"]: fact["message_id"] for fact in facts if fact["message_id"]}
    made = [_scorer.Reference(type="message", cite=f"[M{number + 1}]", id=own) for number, own in sorted(ids.items())]
    return [cast("dict[str, Any]", one.model_dump()) for one in made]
