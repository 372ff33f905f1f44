"""The guard tells whether an untrusted text is being obeyed.

After the Attention Tracker (Hung et al. 2024, arXiv 2411.00348): when injected words take over, the last token of
the prompt looks away from the instruction, in a few heads reliably. One pass, ended after the deepest of these
heads, gives the attention mass of that token on instruction and data; a profile weighs the heads, a calibration
turns the risk into a decision. Whatever cannot be judged is abstained from, with the reason; never passed as fine.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from jaxtyping import Float

from heed.errors import InputError, OutOfMemoryError, ProfileError, SpanNotFoundError, TextError, TooLongError
from heed.guard.calibration import Calibration, Calibrations
from heed.guard.evidence import word_spans
from heed.guard.prompt import NEUTRAL_INSTRUCTION, encode_pair, spans_of
from heed.guard.shipped import find_calibrations
from heed.guard.verdict import Status, Verdict
from heed.model import Model
from heed.probe import LastRow, LastRowMass, LayerKey, PrefixCache, Probe, Reading, read
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.probe.run import check_length
from heed.profile import Profile, find_profile
from heed.reduce.contrast import AGGREGATIONS, Aggregation
from heed.text.encode import Encoded
from heed.text.evidence import HeadGrid
from heed.text.span import TokenSpan

QueryTokens = Literal["first", "all"] | int
"""From which tokens the attention is looked at: the one that predicts the first answer token, those that predict the
first n, or all of a greedily generated answer of at most `MOST_GENERATED` tokens; the mean of them."""

MOST_GENERATED = 32

_MOST_PADDING = 1.2
"""Longest over shortest prompt of a batch: more padding costs more than batching saves."""

_ABSTENTIONS: dict[type[Exception], Status] = {
    TextError: "invalid_text",
    SpanNotFoundError: "span_not_found",
    TooLongError: "too_long",
    OutOfMemoryError: "out_of_memory",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One pair ready to be read."""

    place: int
    instruction: str
    given: bool
    """Whether the caller knew the instruction."""
    data: str
    encoded: Encoded
    spans: list[TokenSpan]
    notes: tuple[str, ...]


class Guard:
    """Tells whether untrusted data is being obeyed instead of the instruction.

    Parameters
    ----------
    model
        A loaded model.
    profile
        Which heads to listen to: a `Profile`, a folder that `heed guard fit` wrote, or None for the one fitted for or
        shipped with these weights.
    threshold
        Flag from this risk on, instead of the profile's calibration.
    aggregation, query_tokens
        How masses become a share, and from which tokens; other than the calibration's own they need a ``threshold``.
    batch_tokens
        Most tokens, padding included, that `check_many` reads at once.

    Raises
    ------
    ProfileError
        If there is no profile for the model, or the one given is for another.
    """

    def __init__(
        self,
        model: Model,
        *,
        profile: Profile | Path | str | None = None,
        threshold: float | None = None,
        aggregation: Aggregation | None = None,
        query_tokens: QueryTokens = "first",
        batch_tokens: int = 2048,
    ) -> None:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise InputError(f"expected a threshold in [0, 1], found {threshold}")
        if isinstance(query_tokens, int) and query_tokens < 1:
            raise InputError(f"expected at least 1 query token, found {query_tokens}")
        if aggregation is not None and aggregation not in AGGREGATIONS:
            raise InputError(f"expected one of {', '.join(AGGREGATIONS)}, found {aggregation!r}")
        folder = Path(profile) if isinstance(profile, Path | str) else None
        chosen = profile if isinstance(profile, Profile) else find_profile(model, task="guard", folder=folder)
        chosen.refuse_other(model)
        self.model = model
        self.profile = chosen if aggregation is None else replace(chosen, aggregation=aggregation)
        self.query_tokens: QueryTokens = query_tokens
        self.batch_tokens = batch_tokens
        self.calibrations = self._calibrations(threshold, folder)
        self._prefix = PrefixCache()
        self._layers = _layer_keys(model, self.profile)

    @property
    def made_for(self) -> str:
        """What a calibration must have been made for: the profile and the query tokens."""
        return f"{self.profile.digest}/{self.query_tokens}"

    def check(self, instruction: str | None, data: str) -> Verdict:
        """Judge one text.

        Parameters
        ----------
        instruction
            What the application asks of the model; None where it is not known: a neutral one stands in, and a note
            says so.
        data
            The untrusted text.

        Returns
        -------
        Verdict
            With ``status`` ``ok``, or the reason for abstaining; bad input is abstained from, not raised.
        """
        return self.check_many([(instruction, data)])[0]

    def check_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        """Judge many texts, batched by length; verdicts come in the order of the pairs and equal those of `check`."""
        found: dict[int, Verdict] = {}
        ready: list[_Pair] = []
        for place, (instruction, data) in enumerate(pairs):
            prepared = self._prepare(place, instruction, data)
            if isinstance(prepared, Verdict):
                found[place] = prepared
            else:
                ready.append(prepared)
        for batch in _batches(ready, self.batch_tokens if self.query_tokens == "first" else 1):
            for pair, verdict in zip(batch, self._judge(batch), strict=True):
                found[pair.place] = verdict
        return [found[place] for place in sorted(found)]

    def scores(self, encoded: Sequence[Encoded]) -> Float[np.ndarray, " B"]:
        """The risks of encoded pairs, without verdicts: what fitting and calibrating work on."""
        spans = [spans_of(prompt) for prompt in encoded]
        return self._risks(self._read(encoded, spans))

    def _calibrations(self, threshold: float | None, folder: Path | None) -> Calibrations | None:
        if threshold is not None:
            given = Calibration(threshold, made_for=self.made_for)
            return Calibrations(given, given)
        known = find_calibrations(self.model, folder=folder)
        return known if known is not None and known.given.made_for == self.made_for else None

    def _prepare(self, place: int, instruction: str | None, data: str) -> _Pair | Verdict:
        started = perf_counter()
        notes: tuple[str, ...] = ()
        given = instruction is not None
        if instruction is None:
            instruction = NEUTRAL_INSTRUCTION
            notes = (f"no instruction given: the neutral {NEUTRAL_INSTRUCTION!r} stands in",)
        abstain = _abstainer(instruction, data, self.model.name, notes, started)
        empty: tuple[tuple[str, str, Status], ...] = (
            (instruction, "instruction", "empty_instruction"),
            (data, "data", "empty_data"),
        )
        for text, name, status in empty:
            if not isinstance(text, str):
                raise InputError(f"expected {name} as a string, found {type(text).__name__}")
            if not text.strip():
                return abstain(status, f"expected some {name}, found {'only white space' if text else 'none'}")
        try:
            encoded = encode_pair(instruction, data, tokenizer_of(self.model))
            spans = spans_of(encoded)
            check_length(self.model, [encoded], self._new_tokens())
        except tuple(_ABSTENTIONS) as error:
            return abstain(_ABSTENTIONS[type(error)], str(error))
        rendered = encoded.rendered
        return _Pair(place, instruction, given, data, encoded, spans, notes + (rendered.notes if rendered else ()))

    def _new_tokens(self) -> int:
        """The prompt's own pass predicts the first token; each one more costs a pass."""
        if self.query_tokens == "first":
            return 0
        return MOST_GENERATED if self.query_tokens == "all" else self.query_tokens - 1

    def _read(self, encoded: Sequence[Encoded], spans: Sequence[Sequence[TokenSpan]]) -> Reading:
        probes: dict[str, Probe] = {"mass": LastRowMass(), "row": LastRow()}
        return read(
            self.model,
            encoded,
            probes,
            layers=self._layers,
            spans=spans,
            prefix=self._prefix,
            new_tokens=self._new_tokens(),
        )

    def _risks(self, reading: Reading) -> Float[np.ndarray, " B"]:
        mass = np.stack([reading.stack("mass", step) for step in range(len(reading.steps))])  # N B L H S
        return np.asarray(np.mean([self.profile.score(step[..., 0], step[..., 1]) for step in mass], axis=0))

    def _judge(self, batch: list[_Pair]) -> Iterator[Verdict]:
        started = perf_counter()
        try:
            reading = self._read([pair.encoded for pair in batch], [pair.spans for pair in batch])
        except OutOfMemoryError as error:
            if len(batch) > 1:
                yield from (verdict for pair in batch for verdict in self._judge([pair]))
                return
            pair = batch[0]
            yield _abstainer(pair.instruction, pair.data, self.model.name, pair.notes, started)(
                "out_of_memory", str(error)
            )
            return
        risks = self._risks(reading)
        seconds = (perf_counter() - started) / len(batch)
        for item, pair in enumerate(batch):
            yield self._verdict(pair, float(risks[item]), reading, item, seconds)

    def _verdict(self, pair: _Pair, risk: float, reading: Reading, item: int, seconds: float) -> Verdict:
        if not np.isfinite(risk):
            abstain = _abstainer(pair.instruction, pair.data, self.model.name, pair.notes, perf_counter() - seconds)
            return abstain("not_finite", "expected finite attention, found NaN: the model's weights or dtype overflow")
        data = pair.spans[1]
        rows = reading.stack("row")[item][:, :, data.start : data.end]  # L H T
        index = np.searchsorted(self.profile.layers, self.profile.heads[:, 0])
        weights = np.maximum(self.profile.weights, 0.0) @ rows[index, self.profile.heads[:, 1]]
        mass = reading.stack("mass")[item]
        verdict = Verdict(
            status="uncalibrated",
            reason=f"risk {risk:.3f}, but no threshold is known for this profile: run `heed guard fit`, or give one",
            score=risk,
            spans=word_spans(pair.encoded, data, weights, pair.data, part="data"),
            seconds=seconds,
            instruction=pair.instruction,
            data=pair.data,
            tokens=len(pair.encoded),
            model=self.model.name,
            notes=pair.notes,
            heads=self._grid(mass[..., 0], mass[..., 1]),
        )
        known = None if self.calibrations is None else self.calibrations.of(given=pair.given)
        return verdict if known is None else _decided(verdict, risk, known)

    def _grid(self, own: Float[np.ndarray, "L H"], other: Float[np.ndarray, "L H"]) -> HeadGrid:
        shape = (self.profile.n_layers, self.profile.n_heads)
        values, weights = np.full(shape, np.nan), np.zeros(shape)
        values[list(self.profile.layers)] = AGGREGATIONS[self.profile.aggregation](own, other)
        weights[self.profile.heads[:, 0], self.profile.heads[:, 1]] = self.profile.weights
        title = "Share of attention that stayed on the instruction"
        return HeadGrid(title, values, weights, "all on the data", "all on the instruction")


def _decided(verdict: Verdict, risk: float, calibration: Calibration) -> Verdict:
    flagged = risk >= calibration.threshold
    side = "at or above" if flagged else "below"
    named = ", ".join(repr(word) for word in verdict.words[:3])
    looked = f"; looked at most: {named}" if named else ""
    return replace(
        verdict,
        status="ok",
        flagged=flagged,
        threshold=calibration.threshold,
        probability=calibration.probability(risk),
        reason=f"risk {risk:.3f} is {side} the threshold {calibration.threshold:.3f}{looked}",
    )


def _layer_keys(model: Model, profile: Profile) -> tuple[LayerKey, ...]:
    keys = {key.index: key for key in layers_of(model).keys if key.kind == "self"}
    missing = [layer for layer in profile.layers if layer not in keys]
    if missing:
        raise ProfileError(
            f"expected attention in layers {missing} (a profile of {profile.model}), found none in {model.name}"
        )
    return tuple(keys[layer] for layer in profile.layers)


def _batches(pairs: list[_Pair], budget: int) -> Iterator[list[_Pair]]:
    """Prompts of like length together: within the budget, and with little of it spent on padding."""
    batch: list[_Pair] = []
    for pair in sorted(pairs, key=lambda pair: len(pair.encoded)):
        length, shortest = len(pair.encoded), len(batch[0].encoded) if batch else 0
        if batch and ((len(batch) + 1) * length > budget or length > shortest * _MOST_PADDING):
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def _abstainer(
    instruction: str, data: str, model: str, notes: tuple[str, ...], started: float
) -> Callable[[Status, str], Verdict]:
    def abstain(status: Status, reason: str) -> Verdict:
        return Verdict(
            status=status,
            reason=reason,
            seconds=perf_counter() - started,
            instruction=instruction,
            data=data,
            model=model,
            notes=notes,
        )

    return abstain
