"""A conversation judged part by part: chat messages come in, one verdict for each untrusted text goes out.

Each text is judged against what the application itself asked for up to there: the system and developer messages
before it and the user's last request, joined by blank lines. It rests on `check_many` alone.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

from heed.errors import AbstainedError, InputError
from heed.guard.conversation import Place, Told, listed, texts_of
from heed.guard.sanitize import Checker
from heed.guard.verdict import Verdict
from heed.text.evidence import Evidence, Passage, Scene, Tone, WeightedSpan
from heed.text.fields import fields

Source = Literal["user", "assistant", "tool", "tool_calls"]
"""Whose texts can be untrusted: those of a role, or the arguments of the assistant's tool calls. What the system and
the developer say never is; documents and files always are."""


@dataclass(frozen=True, slots=True, eq=False)
class PartVerdict:
    """The verdict for one untrusted text of a conversation, and where the text stands.

    The offsets of ``verdict.spans`` and ``verdict.marks`` count in ``text``, the string as the message holds it,
    escapes of JSON included.
    """

    place: Place
    verdict: Verdict

    @property
    def text(self) -> str:
        """The text that was judged."""
        return self.verdict.data

    @property
    def flagged(self) -> bool | None:
        """Whether it is flagged; None where the guard abstained."""
        return self.verdict.flagged

    @property
    def allow(self) -> bool:
        """Whether it may pass."""
        return self.verdict.allow

    def __bool__(self) -> bool:
        return bool(self.verdict)

    def fields(self, spans: Sequence[WeightedSpan]) -> tuple[tuple[str, ...], ...]:
        """For each span the JSONPaths of the string values it touches, where the text is JSON; else nothing."""
        own = [field for field in fields(self.text) if field.path]
        return tuple(tuple(field.path for field in own if field.within(span.span)) for span in spans)

    def record(self) -> dict[str, Any]:
        """Place and verdict, JSON-ready; each span with the string values of a JSON text that it touches."""
        place, spans = self.place, self.verdict.spans
        return {
            "message": place.message,
            "part": place.part,
            "role": place.role,
            "kind": place.kind,
            "path": place.path,
            "name": place.name,
            "tool_call_id": place.tool_call_id,
            **self.verdict.record(),
            "spans": [
                {"start": span.start, "end": span.end, "weight": round(span.weight, 6), "fields": list(paths)}
                for span, paths in zip(spans, self.fields(spans), strict=True)
            ],
            "notes": list(self.verdict.notes),
        }


@dataclass(frozen=True, slots=True, eq=False)
class MessagesVerdict:
    """The verdicts of a conversation's untrusted texts, in its order; ``messages`` is how many messages it has.

    A conversation without untrusted texts has no parts and is allowed.
    """

    parts: tuple[PartVerdict, ...]
    messages: int

    @property
    def flagged(self) -> bool | None:
        """True if any part is flagged; else None if the guard abstained from any; else False."""
        found = {part.flagged for part in self.parts}
        return True if True in found else None if None in found else False

    @property
    def allow(self) -> bool:
        """Whether the conversation may pass: only if every part was judged and none flagged."""
        return all(part.allow for part in self.parts)

    @property
    def reason(self) -> str:
        """How many parts are flagged or abstained from, and why the first of them is."""
        if not self.parts:
            return f"no untrusted text in {self.messages} messages"
        flagged = [part for part in self.parts if part.flagged]
        unsure = [part for part in self.parts if part.flagged is None]
        said = f"{len(flagged)} of {len(self.parts)} untrusted texts flagged, {len(unsure)} abstained from"
        first = next(iter(flagged + unsure), None)
        return said if first is None else f"{said}; {first.place.path}: {first.verdict.reason}"

    def __bool__(self) -> bool:
        flagged = self.flagged
        if flagged is None:
            raise AbstainedError(f"expected a verdict, found that the guard abstained: {self.reason}")
        return flagged

    def record(self) -> dict[str, Any]:
        """All of it, JSON-ready."""
        return {
            "flagged": self.flagged,
            "allow": self.allow,
            "messages": self.messages,
            "parts": [part.record() for part in self.parts],
            "reason": self.reason,
        }

    def scene(self) -> Scene:
        """The conversation's untrusted texts as a picture."""
        tone: Tone = "unsure" if self.flagged is None else "bad" if self.flagged else "good"
        headline = {"unsure": "Abstained", "bad": "Injection suspected", "good": "No injection found"}[tone]
        return Scene(
            title="heed guard",
            headline=headline,
            tone=tone,
            passages=tuple(map(_passage, self.parts)),
            facts=(("messages", str(self.messages)), ("untrusted texts", str(len(self.parts)))),
            notes=(self.reason,),
        )


def _passage(part: PartVerdict) -> Passage:
    said = {None: f"abstained, {part.verdict.status}", True: "flagged", False: "fine"}[part.flagged]
    risk = "" if part.verdict.score is None else f", risk {part.verdict.score:.3f}"
    name = "" if part.place.name is None else f" {part.place.name}"
    label = f"{part.place.path} {part.place.kind}{name}: {said}{risk}"
    return Passage(label, Evidence(part.text, part.verdict.marks), "share of what raised the risk")


def check_messages(
    guard: Checker, messages: Iterable[Mapping[str, Any]], *, untrusted: Iterable[Source] = ("tool",)
) -> MessagesVerdict:
    """Judge every untrusted text of a conversation, in one batch.

    The instruction of a text is what the application asked up to there: the trusted texts of the system and developer
    messages so far, then the last user message with trusted text before it (for a document within a user message that
    message itself, if it says anything), joined by blank lines. With neither, the guard's neutral instruction stands
    in. So the verdict of a text stays as it is when the conversation goes on.

    A blank text holds nothing and is no part. What is not text (images, files) cannot be judged: where its source is
    untrusted the guard abstains with the status ``not_text``.

    Raises
    ------
    InputError
        If a message has another shape (names it by its index), there is none, or ``untrusted`` names no such text.
    """
    sources = untrusted if isinstance(untrusted, str) else frozenset(untrusted)
    if isinstance(sources, str) or not sources <= set(get_args(Source)):
        raise InputError(f"expected a collection of {', '.join(get_args(Source))} as untrusted, found {untrusted!r}")
    held = listed(messages)
    asked = list(_with_instructions(texts_of(held), sources))
    judged = iter(guard.check_many([(asking, item.text) for item, asking in asked if item.text is not None]))
    verdicts = [_not_text(item, asking) if item.text is None else next(judged) for item, asking in asked]
    parts = [PartVerdict(item.place, verdict) for (item, _), verdict in zip(asked, verdicts, strict=True)]
    return MessagesVerdict(tuple(parts), len(held))


def _with_instructions(told: Iterable[Told], untrusted: Collection[str]) -> Iterator[tuple[Told, str | None]]:
    """Each untrusted text with the instruction it is judged against."""
    system: list[str] = []
    request: list[str] = []
    for _, group in groupby(told, key=lambda item: item.place.message):
        items = list(group)
        trusted = [item for item in items if not _is_untrusted(item, untrusted)]
        system += [item.text for item in trusted if item.place.role == "system" and item.text is not None]
        own = [item.text for item in trusted if item.place.role == "user" and item.text is not None]
        beside = own or request
        for item in items:
            if _is_untrusted(item, untrusted):
                before = beside if item.place.role == "user" else request or own
                yield item, "\n\n".join(system + before) or None
        request = beside


def _is_untrusted(item: Told, untrusted: Collection[str]) -> bool:
    kind = item.place.kind
    if kind == "document":
        return True
    return {"text": item.place.role, "tool_result": "tool", "tool_call": "tool_calls"}[kind] in untrusted


def _not_text(item: Told, instruction: str | None) -> Verdict:
    reason = f"expected text, found {item.form!r}: heed reads text only"
    return Verdict(status="not_text", reason=reason, instruction=instruction or "")
