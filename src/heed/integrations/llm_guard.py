"""Scanners for llm-guard, to be listed among its own in ``scan_prompt`` and ``scan_output``.

llm-guard (0.3) takes any object with a ``scan`` of its protocols, so nothing is imported here. Its pinned transformers
cannot be installed beside heed's: install it with ``pip install --no-deps llm-guard``.
"""

from typing import TYPE_CHECKING

from heed.errors import InputError
from heed.integrations.screen import OnVerdict, Policy, Screen, Screened

if TYPE_CHECKING:
    from heed.guard import Guard

Scanned = tuple[str, bool, float]
"""What may be passed on, whether the text was fine as it was, and its risk in [0, 1] (1 where the guard abstained)."""


class HeedPrompt:
    """An input scanner: judges the prompt as untrusted data of an application.

    Parameters
    ----------
    guard, policy, instruction, on_verdict
        As for `Screen`; llm-guard does not stop by an exception, so ``policy`` is ``replace`` or ``sanitize``.

    Raises
    ------
    InputError
        If the policy is another one.
    """

    def __init__(
        self,
        guard: "Guard",
        *,
        policy: Policy = "replace",
        instruction: str | None = None,
        on_verdict: OnVerdict | None = None,
    ) -> None:
        self._screen = _screen(guard, policy, instruction, on_verdict)

    def scan(self, prompt: str) -> Scanned:
        """Judge a prompt; see `Scanned`."""
        return _scanned(self._screen.text(prompt))


class HeedOutput:
    """An output scanner: judges what a model or tool returned as untrusted data, the prompt being the instruction.

    Parameters and errors are those of `HeedPrompt`; an ``instruction`` stands in the prompt's place.
    """

    def __init__(
        self,
        guard: "Guard",
        *,
        policy: Policy = "replace",
        instruction: str | None = None,
        on_verdict: OnVerdict | None = None,
    ) -> None:
        self._screen = _screen(guard, policy, instruction, on_verdict)

    def scan(self, prompt: str, output: str) -> Scanned:
        """Judge an output; see `Scanned`."""
        return _scanned(self._screen.text(output, instruction=prompt))


def _screen(guard: "Guard", policy: Policy, instruction: str | None, on_verdict: OnVerdict | None) -> Screen:
    if policy == "block":
        raise InputError("expected replace or sanitize as policy of an llm-guard scanner, found 'block'")
    return Screen(guard, policy=policy, instruction=instruction, on_verdict=on_verdict)


def _scanned(screened: Screened) -> Scanned:
    score, fine = screened.verdict.score, screened.enforced == "allow"
    unknown = 0.0 if fine else 1.0
    return screened.text, fine, unknown if score is None or screened.verdict.flagged is None else score
