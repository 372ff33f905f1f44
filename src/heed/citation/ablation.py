"""Facts taken out of a context, and how much less probable the answer then is: leave-one-out and ContextCite."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from heed.citation.attention import Rows, looks_from
from heed.citation.prompt import RESPONSE, encode_question, row_groups
from heed.citation.question import Question
from heed.citation.reading import stretches
from heed.citation.scores import Method, Scores
from heed.errors import InputError
from heed.extras import require
from heed.model import Model
from heed.probe.likelihood import token_logprobs
from heed.probe.prefix import PromptCache
from heed.probe.prompt import tokenizer_of
from heed.text.span import CharSpan, TokenSpan

_SURE = float(np.log1p(-(2.0**-24)))
"""The highest log-probability below 0 that fp32 tells from 0: its logit is finite."""


def without(question: Question, removed: Collection[int]) -> Question:
    """The same question on a context from which facts are deleted, by number.

    With a fact goes what separates it from the fact before it; what is left keeps its order and separators.

    Raises
    ------
    InputError
        If a number is no fact's.
    """
    count = len(question.units)
    gone = set(removed)
    if not gone <= set(range(count)):
        raise InputError(f"expected facts from 0 to {count - 1}, found {sorted(gone - set(range(count)))}")
    text = ""
    units: list[CharSpan] = []
    for index, span in enumerate(question.units):
        if index in gone:
            continue
        if index == 0:
            text = question.context[: span.start]
        elif units:
            text += question.context[question.units[index - 1].end : span.start]
        units.append(CharSpan(len(text), len(text) + len(span)))
        text += question.context[span.slice()]
    if count - 1 not in gone:
        text += question.context[question.units[-1].end :]
    return Question(question.text, text, tuple(units), question.response)


@dataclass(slots=True, eq=False)
class Ablations:
    """The log-probability of one answer on contexts without some facts; each context goes through the model once.

    ``passes`` counts forward passes so far. With ``share`` what a context begins with is not computed again: faster
    where few facts are taken out, and up to rounding the same.

    Raises
    ------
    InputError
        If there is no answer.
    """

    model: Model
    question: Question
    share: bool = False
    passes: int = 0
    _known: dict[frozenset[int], Float[np.ndarray, " N"]] = field(default_factory=dict)
    _whole: PromptCache | None = None

    def __post_init__(self) -> None:
        if self.question.response is None:
            raise InputError("expected a response whose probability can fall, found none: give one or generate one")

    def tokens(self, removed: Collection[int] = ()) -> Float[np.ndarray, " N"]:
        """Natural log-probability of each of the answer's N tokens, at most 0, without the facts of these numbers.

        Raises
        ------
        InputError
            If a number is no fact's, or the model gives no finite number.
        TooLongError
            If the prompt does not fit the model's window.
        """
        key = frozenset(int(index) for index in removed)
        if key not in self._known:
            self._known[key] = self._run(without(self.question, key))
            self.passes += 1
        return self._known[key]

    def drop(self, removed: Collection[int]) -> float:
        """Log-probability in nats that the answer loses without these facts; below 0 if it gains.

        Raises
        ------
        InputError, TooLongError
            As `tokens`.
        """
        return float(self.tokens().sum() - self.tokens(removed).sum())

    def sentences(self) -> list[TokenSpan]:
        """The tokens of each sentence of the answer, counted from its first."""
        encoded = encode_question(self.question, tokenizer_of(self.model))
        start = encoded.part(RESPONSE).start
        return [group.shift(-start) for group in row_groups(encoded, self.question, response=True)[0]]

    def _run(self, question: Question) -> Float[np.ndarray, " N"]:
        encoded = encode_question(question, tokenizer_of(self.model))
        answer = encoded.part(RESPONSE)
        found = token_logprobs(self.model, encoded, answer, prefix=self._prefix()).astype(np.float64)
        if not np.isfinite(found).all():
            raise InputError(f"expected finite log-probabilities of {self.model.name}, found NaN or infinity")
        return found

    def _prefix(self) -> PromptCache | None:
        if self.share and self._whole is None:
            encoded = encode_question(self.question, tokenizer_of(self.model))
            self._whole = PromptCache(prompt=encoded.ids[: encoded.part(RESPONSE).start - 1])
        return self._whole


def leave_one_out_method(model: Model, *, share: bool = True, rows: Rows | None = None) -> Method:
    """Leave-one-out: the log-probability in nats that the answer loses without a fact.

    One pass for each fact and one for the whole context. With ``share`` a pass leaves out what stands before the fact,
    which was computed already: up to twice as fast. ``rows`` may only be the answer's.

    Raises
    ------
    InputError
        When called with a question without an answer.
    """

    def score(question: Question) -> Scores:
        answer = Ablations(model, question, share=share)
        lost = answer.tokens() - np.stack([answer.tokens([fact]) for fact in range(len(question.units))])
        sentences = [lost[:, span.slice()].sum(1) for span in answer.sentences()]
        return Scores(lost.sum(1), passes=answer.passes, sentences=np.stack(sentences))

    return _in_windows(model, score, rows)


def contextcite_method(
    model: Model,
    *,
    ablations: int = 64,
    keep: float = 0.5,
    alpha: float = 0.01,
    seed: int = 0,
    rows: Rows | None = None,
) -> Method:
    """ContextCite: weights of a sparse linear model that foretells the answer's probability from the facts kept.

    Every fact is kept or deleted by chance; LASSO on the standardised masks fits the logit of the answer's
    probability, divided by its number of tokens. A weight (times that number) is the logit a fact adds, in nats.
    Cohen-Wang et al., NeurIPS 2024 (arXiv 2409.00729), with its defaults. Needs the extra ``fit`` (scikit-learn).

    Parameters
    ----------
    ablations
        Random contexts; each distinct one costs one pass.
    keep
        Probability in (0, 1) of a fact to stay.
    alpha
        Strength of the L1 penalty.
    rows
        May only be the answer's.

    Raises
    ------
    InputError
        If a setting is out of its range; when called, if the question has no answer.
    ExtraMissingError
        If scikit-learn is not installed.
    """
    if ablations < 2 or not 0 < keep < 1 or alpha < 0 or seed < 0:
        raise InputError(
            "expected ablations >= 2, keep in (0, 1), alpha >= 0 and a seed >= 0, found "
            f"{ablations}, {keep}, {alpha} and {seed}"
        )
    require("sklearn.linear_model", extra="fit")

    def score(question: Question) -> Scores:
        answer = Ablations(model, question)
        kept = np.random.default_rng(seed).random((ablations, len(question.units))) < keep
        tokens = np.stack([answer.tokens(np.flatnonzero(~mask).tolist()) for mask in kept])
        sentences = [surrogate(kept, tokens[:, span.slice()], alpha=alpha) for span in answer.sentences()]
        return Scores(surrogate(kept, tokens, alpha=alpha), passes=answer.passes, sentences=np.stack(sentences))

    return _in_windows(model, score, rows)


def surrogate(
    kept: Bool[np.ndarray, "A U"], tokens: Float[np.ndarray, "A N"], *, alpha: float
) -> Float[np.ndarray, " U"]:
    """LASSO weights of the facts kept, for the logit of the probability of N tokens; see `contextcite_method`."""
    total = np.minimum(tokens.sum(1), _SURE)
    logit = total - np.log(-np.expm1(total))
    spread = kept.std(0)
    spread[spread == 0] = 1.0
    lasso = require("sklearn.linear_model", extra="fit").Lasso(alpha=alpha, max_iter=100_000)
    lasso.fit((kept - kept.mean(0)) / spread, logit / tokens.shape[1])
    return np.asarray(lasso.coef_ / spread * tokens.shape[1])


def _in_windows(model: Model, score: Callable[[Question], Scores], rows: Rows | None) -> Method:
    """A context longer than the model's window is scored in stretches, each against its own neighbours."""

    def scored(question: Question) -> Scores:
        if not looks_from(question, rows):
            raise InputError(
                "expected a response and rows of it, found none: what is measured is how its probability falls"
            )
        every = range(len(question.units))
        runs = [range(*run) for run in stretches(model, question)]
        found = [score(without(question, set(every).difference(run))) for run in runs]
        sentences = [one.sentences for one in found if one.sentences is not None]
        return Scores(
            np.concatenate([one.values for one in found]),
            passes=sum(one.passes for one in found),
            sentences=np.concatenate(sentences, 1),
            windows=len(found),
        )

    return scored
