"""An action for NeMo Guardrails: ``heed_check`` judges a text in any rail and answers with a ``RailOutcome``.

`COLANG` has ready flows for the user's message and for retrieved chunks, in Colang 1.0.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from heed.extras import require
from heed.integrations.screen import OnVerdict, Policy, Screen

if TYPE_CHECKING:
    from heed.guard import Guard

_actions = require("nemoguardrails.actions", extra="nemo")
_outcomes = require("nemoguardrails.actions.rail_outcome", extra="nemo")

NAME = "heed_check"

COLANG = """\
define bot refuse to respond
  "I can't respond to that."

define flow heed check input
  $checked = execute heed_check(text=$user_message, target="user_message")
  if $checked.is_blocked
    bot refuse to respond
    stop
  if $checked.is_transform
    $user_message = $checked.transform_text["user_message"]

define flow heed check retrieval
  $checked = execute heed_check(text=$relevant_chunks, target="relevant_chunks")
  if $checked.is_blocked
    bot refuse to respond
    stop
  if $checked.is_transform
    $relevant_chunks = $checked.transform_text["relevant_chunks"]
"""
"""To be named in the configuration: the first flow in ``rails.input.flows``, the other in ``rails.retrieval.flows``."""


def register(
    rails: Any,
    guard: "Guard",
    *,
    policy: Policy = "block",
    instruction: str | None = None,
    on_verdict: OnVerdict | None = None,
) -> None:
    """Register the action ``heed_check`` with an ``LLMRails``.

    Parameters
    ----------
    rails
        The ``LLMRails``.
    guard, policy, on_verdict
        As for `Screen`; a text whose variable cannot be rewritten is blocked under every policy.
    instruction
        What the application asks of the model; None: the general instructions of the rails' configuration.
    """
    screen = Screen(guard, policy=policy, instruction=instruction, on_verdict=on_verdict)
    general = "\n".join(one.content for one in rails.config.instructions or () if one.type == "general")
    rails.register_action(check_action(screen, general or None), name=NAME)


def check_action(screen: Screen, instruction: str | None = None) -> Callable[..., Awaitable[Any]]:
    """The action itself: ``(text, target=None) -> RailOutcome``.

    Its metadata are status, score and threshold; its reason is the status: nothing of the text.
    """

    @_actions.action(name=NAME)
    async def heed_check(text: str | None, target: str | None = None) -> Any:
        targets = [known for known in _outcomes.TransformTarget if known.value == target]
        fitting = screen if targets else screen.blocking()
        screened = await asyncio.to_thread(fitting.text, text or "", instruction=instruction)
        verdict = screened.verdict
        facts = {"status": verdict.status, "score": verdict.score, "threshold": verdict.threshold}
        if screened.enforced == "allow":
            return _outcomes.RailOutcome.allow(metadata=facts)
        if screened.enforced == "block":
            return _outcomes.RailOutcome.block(reason=verdict.status, metadata=facts)
        return _outcomes.RailOutcome.transform([(targets[0], screened.text)], reason=verdict.status, metadata=facts)

    return heed_check  # type: ignore[no-any-return]
