"""The guard tells whether an untrusted text is being obeyed.

After the Attention Tracker (Hung et al. 2024, arXiv 2411.00348): when injected words take over, the last token of
the prompt looks away from the instruction, in a few heads reliably. One pass, ended after the deepest of these
heads, gives the attention mass of that token on instruction and data; a profile weighs the heads, a calibration
turns the risk into a decision. Whatever cannot be judged is abstained from, with the reason; never passed as fine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from heed.errors import InputError, OutOfMemoryError, ProfileError
from heed.guard.asynchronous import check_in_thread
from heed.guard.calibrating import TextPair, calibrate_pairs
from heed.guard.calibration import Calibration, Calibrations, Preset, is_number
from heed.guard.document import Document
from heed.guard.drift import Drift
from heed.guard.listening import HeadListening, Heard, LearnedListening, Listening
from heed.guard.messages import MessagesVerdict, Source, check_messages
from heed.guard.pair import Window, batches, prepare
from heed.guard.probability import Curve
from heed.guard.query import MOST_GENERATED, QueryTokens, check_query_tokens, new_tokens
from heed.guard.result_cache import ResultCache
from heed.guard.sanitize import Mode, Sanitized, sanitize_many
from heed.guard.shipped import calibration_path, choose_calibrations
from heed.guard.stats import Monitor, Stats
from heed.guard.threshold import Method
from heed.guard.verdict import Verdict
from heed.model import Model
from heed.profile import NAMES, AnyProfile, LearnedProfile, Profile, RankingProfile, find_profile
from heed.reduce.contrast import AGGREGATIONS, Aggregation

__all__ = ["MOST_GENERATED", "Guard", "QueryTokens"]


class Guard:
    """Tells whether untrusted data is being obeyed instead of the instruction.

    Parameters
    ----------
    model
        A loaded model.
    profile
        How to listen: a profile, a folder that `heed guard fit` wrote or the profile's file (its calibration lies
        beside it), ``fast`` or ``full`` for one shipped with these weights, or None for the one fitted for them here,
        else the shipped default (`heed.profile.DEFAULT`).
    threshold
        Flag from this risk on, instead of the profile's calibration.
    calibration
        `Calibrations`, or a file of them, instead of the profile's own; made for this profile, or refused.
    preset
        ``strict``, ``balanced`` or ``permissive``: which of the calibration's thresholds to use (see `PRESETS`).
    aggregation, query_tokens
        How masses become a share, and from which tokens (see `QueryTokens`; n of them cost n passes): for profiles of
        chosen heads only. Other than the calibration's own they need a ``threshold``.
    batch_tokens
        Most tokens, padding included, that `check_many` reads at once.
    cache
        How many verdicts to keep, so that a text judged before is not read again; 0: none.

    Raises
    ------
    InputError
        If the threshold, the aggregation, the query tokens or the preset are none that exist, or a threshold comes
        with a calibration or a preset.
    ProfileError
        If there is no profile for the model, or the one given is for another model or task; if the calibration given
        was made for another profile, or the preset needs benign scores that the calibration does not hold.
    """

    def __init__(
        self,
        model: Model,
        *,
        profile: Profile | LearnedProfile | Path | str | None = None,
        threshold: float | None = None,
        calibration: Calibrations | Path | str | None = None,
        preset: Preset = "balanced",
        aggregation: Aggregation | None = None,
        query_tokens: QueryTokens = "first",
        batch_tokens: int = 2048,
        cache: int = 0,
    ) -> None:
        if threshold is not None and not (is_number(threshold) and 0.0 <= threshold <= 1.0):
            raise InputError(f"expected a threshold in [0, 1], found {threshold!r}")
        if aggregation is not None and aggregation not in AGGREGATIONS:
            raise InputError(f"expected one of {', '.join(AGGREGATIONS)}, found {aggregation!r}")
        self.query_tokens = check_query_tokens(query_tokens)
        path = Path(profile) if isinstance(profile, Path | str) and profile not in NAMES else None
        if isinstance(profile, AnyProfile):
            chosen: AnyProfile = profile
        else:
            name = str(profile) if profile is not None and path is None else None
            chosen = find_profile(model, task="guard", folder=path, name=name)
        if isinstance(chosen, RankingProfile) or chosen.task != "guard":
            raise ProfileError(
                f"expected a profile for the task 'guard', found one for {chosen.task!r}: "
                f"fit one with `heed guard fit --model {model.name}`"
            )
        chosen.refuse_other(model)
        self.model = model
        self._listening = _listening(model, chosen, aggregation, self.query_tokens)
        self.profile = self._listening.profile
        self.batch_tokens = batch_tokens
        self.preset = preset
        self.calibrations = self._calibrations(threshold, calibration, path)
        self.drift: Drift | None = None
        """Set it to ``Drift(guard.calibrations)`` to be told when benign scores leave the calibration's range."""
        self._results = ResultCache(cache)
        self._monitor = Monitor()

    @property
    def made_for(self) -> str:
        """What a calibration must have been made for: the profile's digest and the query tokens."""
        return self._listening.made_for

    def check(
        self, instruction: str | None, data: str, *, progress: Callable[[int, int], None] | None = None
    ) -> Verdict:
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
        return self.check_many([(instruction, data)], progress=progress)[0]

    def check_many(
        self, pairs: Iterable[tuple[str | None, str]], *, progress: Callable[[int, int], None] | None = None
    ) -> list[Verdict]:
        """Judge many texts, batched by length; verdicts come in the order of the pairs and equal those of `check`.

        ``progress`` is told after each pass how many tokens are read, and how many there are to read.
        """
        context = (self.made_for, self.preset, self.calibrations)
        answers = self._results.answer(list(pairs), lambda asked: self._judge_all(asked, progress), context=context)
        return self._monitor.note(answers)

    async def acheck(
        self, instruction: str | None, data: str, *, progress: Callable[[int, int], None] | None = None
    ) -> Verdict:
        """`check` without holding up the event loop: in a thread of the model's, one call at a time."""
        return (await check_in_thread(self, [(instruction, data)], progress))[0]

    async def acheck_many(
        self, pairs: Iterable[tuple[str | None, str]], *, progress: Callable[[int, int], None] | None = None
    ) -> list[Verdict]:
        """`check_many` without holding up the event loop, where ``progress`` is called; cancelled, it ends early."""
        return await check_in_thread(self, pairs, progress)

    def stats(self) -> Stats:
        """What this guard has done so far: checks, abstentions, tokens, times, memory."""
        return self._monitor.stats()

    def _judge_all(
        self, pairs: Iterable[tuple[str | None, str]], progress: Callable[[int, int], None] | None
    ) -> list[Verdict]:
        found: dict[int, Verdict] = {}
        documents: dict[int, Document] = {}
        for place, (instruction, data) in enumerate(pairs):
            prepared = prepare(
                self.model,
                place,
                instruction,
                data,
                split=self._listening.split,
                question=self._listening.question,
                new_tokens=new_tokens(self.query_tokens),
            )
            if isinstance(prepared, Verdict):
                found[place] = prepared
            else:
                documents[place] = Document(prepared, self._listening)
        windows = [window for document in documents.values() for window in document.windows]
        done, total = 0, sum(len(window.encoded) for window in windows)
        for batch in batches(windows, self.batch_tokens if self.query_tokens == "first" else 1):
            for window, heard in zip(batch, self._hear(batch), strict=True):
                documents[window.place].put(window, *heard)
            done += sum(len(window.encoded) for window in batch)
            if progress is not None:
                progress(done, total)
        found |= {place: self._decide(document) for place, document in documents.items()}
        return [found[place] for place in sorted(found)]

    def _hear(self, batch: list[Window]) -> Iterator[tuple[Heard | OutOfMemoryError, float]]:
        """What was heard of each window, or that memory was short, and its share of the seconds."""
        started = perf_counter()
        try:
            heard = self._listening.hear(batch)
        except OutOfMemoryError as error:
            if len(batch) > 1:
                for window in batch:
                    yield from self._hear([window])
                return
            yield error, perf_counter() - started
            return
        seconds = (perf_counter() - started) / len(batch)
        yield from ((one, seconds) for one in heard)

    def _decide(self, document: Document) -> Verdict:
        """The document's risk, held against the calibration."""
        verdict, given = document.verdict(), document.question.given
        if verdict.score is None:
            return verdict
        known = None if self.calibrations is None else self.calibrations.of(given=given, preset=self.preset)
        if known is None or known.made_for != self.made_for:
            return replace(verdict, reason=self._undecided(verdict.score, known, given=given))
        if self.drift is not None:
            self.drift.watch(verdict.score, given=given)
        return _decided(verdict, verdict.score, known)

    def _undecided(self, risk: float, known: Calibration | None, *, given: bool) -> str:
        """Why a risk stays without a decision."""
        if known is not None:
            lacking = f"the calibration was made for {known.made_for!r}, this guard is {self.made_for!r}"
        elif self.calibrations is not None and not given:
            lacking = "no threshold is known for texts without an instruction"
        else:
            lacking = "no threshold is known for this profile"
        return f"risk {risk:.3f}, but {lacking}: run `heed guard fit`, or give a threshold"

    def calibrate(
        self,
        benign: Iterable[TextPair],
        attacks: Iterable[TextPair] | None = None,
        *,
        fpr: float = 0.01,
        method: Method = "fpr",
        curve: Curve = "auto",
    ) -> Calibration:
        """Judge labelled pairs, and decide from now on by what they show; see `heed.guard.calibrate`.

        Parameters
        ----------
        benign, attacks
            Pairs of instruction and data as for `check`: all with an instruction, or all without one.

        Returns
        -------
        Calibration
            Which of the two of `calibrations` it replaces follows from the pairs. Read its ``notes``.

        Raises
        ------
        InputError
            As `heed.guard.calibrate`; or if a row is no pair (names it), or a text is both benign and an attack.
        ExtraMissingError
            If scipy is not installed (the extra ``fit``).
        """
        drift, self.drift = self.drift, None  # these rows are no live traffic
        try:
            found, given = calibrate_pairs(
                self.check_many, benign, attacks, made_for=self.made_for, fpr=fpr, method=method, curve=curve
            )
        finally:
            self.drift = drift
        self.calibrations = (self.calibrations or Calibrations()).put(found, given=given)
        self.drift = None if drift is None else drift.renewed(self.calibrations)
        return found

    def save_calibration(self, path: Path | str | None = None) -> Path:
        """Write the calibrations, to where a guard of this model finds them if no path is given; returns the path.

        Raises
        ------
        ProfileError
            If there are none.
        """
        if self.calibrations is None:
            raise ProfileError("expected a calibration to save, found none: call `calibrate` first")
        target = calibration_path(self.model, self.made_for) if path is None else Path(path)
        self.calibrations.save(target)
        return target

    def check_messages(
        self, messages: Iterable[Mapping[str, Any]], *, untrusted: Iterable[Source] = ("tool",)
    ) -> MessagesVerdict:
        """Judge the untrusted parts of a conversation, each for itself; see `heed.guard.messages`.

        Parameters
        ----------
        messages
            Chat messages as dicts, in the shape of OpenAI's or Anthropic's interface.
        untrusted
            Whose texts are judged, of ``user``, ``assistant``, ``tool`` and ``tool_calls`` (the arguments of the
            assistant's calls). Documents and files are judged wherever they stand.

        Raises
        ------
        InputError
            If a message has another shape (names it by its index), there is none, or ``untrusted`` names no such text.
        """
        return check_messages(self, messages, untrusted=untrusted)

    def sanitize(self, instruction: str | None, data: str, *, mode: Mode = "remove", rounds: int = 3) -> Sanitized:
        """Take out of a flagged text what was judged injected, and judge the rest, until it is allowed.

        A text that is allowed as it comes stays as it is, to the letter. One that the guard abstains from stays too,
        and is not allowed. JSON stays valid: only string values lose characters.

        Parameters
        ----------
        mode
            ``remove``, or ``mask`` to leave `heed.guard.removal.NOTICE` in place of what was taken.
        rounds
            How often at most something is taken out and the rest judged again.

        Raises
        ------
        InputError
            If the mode is none that exists, ``rounds`` is no whole number from 1, or a text is no string.
        """
        return self.sanitize_many([(instruction, data)], mode=mode, rounds=rounds)[0]

    def sanitize_many(
        self, pairs: Iterable[tuple[str | None, str]], *, mode: Mode = "remove", rounds: int = 3
    ) -> list[Sanitized]:
        """Clean many texts; each round is one batch. As `sanitize` for each pair, in order."""
        return sanitize_many(self, pairs, mode=mode, rounds=rounds)

    def _calibrations(
        self, threshold: float | None, calibration: Calibrations | Path | str | None, beside: Path | None
    ) -> Calibrations | None:
        if threshold is None:
            return choose_calibrations(
                self.model, calibration, made_for=self.made_for, preset=self.preset, beside=beside
            )
        if calibration is not None or self.preset != "balanced":
            raise InputError("expected a threshold, or a calibration and a preset, found both: give one of them")
        given = Calibration(threshold, made_for=self.made_for)
        return Calibrations(given, given)


def _decided(verdict: Verdict, risk: float, calibration: Calibration) -> Verdict:
    flagged = risk >= calibration.threshold
    side = "at or above" if flagged else "below"
    banded = not flagged and calibration.review is not None and risk >= calibration.review
    band = f", within the review band from {calibration.review:.3f}" if banded else ""
    named = ", ".join(repr(word) for word in verdict.words[:3])
    looked = f"; raised most by: {named}" if named else ""
    return replace(
        verdict,
        status="ok",
        flagged=flagged,
        threshold=calibration.threshold,
        review=calibration.review,
        probability=calibration.probability(risk),
        reason=f"risk {risk:.3f} is {side} the threshold {calibration.threshold:.3f}{band}{looked}",
    )


def _listening(
    model: Model, profile: Profile | LearnedProfile, aggregation: Aggregation | None, query_tokens: QueryTokens
) -> Listening:
    if isinstance(profile, Profile):
        chosen = profile if aggregation is None else replace(profile, aggregation=aggregation)
        return HeadListening(model, chosen, query_tokens)
    if aggregation is not None or query_tokens != "first":
        raise InputError(
            "expected a profile of chosen heads for another aggregation or other query tokens, found a learned one: "
            "leave them out, or fit one with `heed guard fit --method margin`"
        )
    return LearnedListening(model, profile)
