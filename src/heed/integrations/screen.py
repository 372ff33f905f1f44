"""What all adapters share: untrusted texts come in; what may be passed on in their place goes out.

It knows verdicts and policies, and no framework.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from heed.errors import BlockedError, InputError

if TYPE_CHECKING:
    from heed.guard import Guard, Verdict

Policy = Literal["block", "replace", "sanitize"]
"""What is done with a text that may not pass: stop the run, put a notice in its place, or cut the injected parts out.

What ``sanitize`` leaves is judged again, and replaced by a notice where it still may not pass; so is a text the guard
abstained from.
"""

Enforced = Literal["allow", "block", "replace", "sanitize"]
"""What was done with a text, which is not what its verdict says."""

OnVerdict = Callable[["Verdict", Enforced], None]
"""Is told every verdict and what was enforced, such as `heed.integrations.otel.record`."""


@dataclass(frozen=True, slots=True)
class Screened:
    """One text after screening: what passes on in its place, what was enforced, and the verdict behind it.

    ``text`` is the text itself, what sanitizing left of it, or a notice that quotes nothing of it.
    """

    text: str
    enforced: Enforced
    verdict: "Verdict"

    def or_raise(self) -> "Screened":
        """Itself, unless the policy stops the run here.

        Raises
        ------
        BlockedError
            If ``enforced`` is ``block``; the message quotes nothing of the text.
        """
        if self.enforced == "block":
            raise BlockedError(f"expected a text that may pass, found one that {_why(self.verdict)}")
        return self


class Screen:
    """A guard and what to do with its verdicts.

    Parameters
    ----------
    guard
        A ready guard.
    policy
        What is done with a text that may not pass.
    instruction
        What the application asks of the model, for every text; None: what each call says.
    on_verdict
        Told every verdict and what was enforced.

    Raises
    ------
    InputError
        If there is no such policy.
    """

    def __init__(
        self,
        guard: "Guard",
        *,
        policy: Policy = "replace",
        instruction: str | None = None,
        on_verdict: OnVerdict | None = None,
    ) -> None:
        if policy not in get_args(Policy):
            raise InputError(f"expected one of {', '.join(get_args(Policy))} as policy, found {policy!r}")
        self.guard, self.policy, self.instruction, self.on_verdict = guard, policy, instruction, on_verdict

    def texts(self, texts: Iterable[str], *, instruction: str | None = None) -> list[Screened]:
        """Judge texts in one go; a text of white space only passes, for nothing in it can be obeyed.

        Parameters
        ----------
        texts
            The untrusted texts.
        instruction
            What this call asks of the model, where the screen has no instruction of its own; None or white space: not
            known.
        """
        asked = self._asked(instruction)
        texts = list(texts)
        verdicts = self.guard.check_many([(asked, text) for text in texts])
        return [self._enforce(asked, text, verdict) for text, verdict in zip(texts, verdicts, strict=True)]

    def text(self, text: str, *, instruction: str | None = None) -> Screened:
        """Judge one text; see `texts`."""
        return self.texts([text], instruction=instruction)[0]

    def blocking(self) -> "Screen":
        """The same screen under the policy ``block``, for texts that cannot be rewritten where they stand."""
        return Screen(self.guard, policy="block", instruction=self.instruction, on_verdict=self.on_verdict)

    def unreadable(self, found: str) -> Screened:
        """What becomes of content that is no text (``found`` says what it is): the guard abstains."""
        from heed.guard import Verdict

        reason = f"expected text, found {found}: heed reads text only"
        verdict = Verdict("not_text", reason, model=self.guard.model.name)
        return self._enforce(None, "", verdict)

    def _asked(self, instruction: str | None) -> str | None:
        if self.instruction is not None:
            return self.instruction
        return instruction if instruction and instruction.strip() else None

    def _enforce(self, asked: str | None, text: str, verdict: "Verdict") -> Screened:
        passed = f"[withheld by heed: this text {_why(verdict)}]"
        enforced: Enforced = "block" if self.policy == "block" else "replace"
        if verdict.allow or verdict.status == "empty_data":
            passed, enforced = text, "allow"
        elif verdict.flagged and self.policy == "sanitize":
            cleaned = self.guard.sanitize(asked, text)
            if cleaned.allow:
                passed, enforced = cleaned.text, "sanitize"
        if self.on_verdict is not None:
            self.on_verdict(verdict, enforced)
        return Screened(passed, enforced, verdict)


def _why(verdict: "Verdict") -> str:
    """In words of our own: a verdict's reason quotes the text, and must not reach the model this way."""
    if verdict.flagged is None:
        return f"could not be judged ({verdict.status})"
    return "seems to carry instructions of its own"
