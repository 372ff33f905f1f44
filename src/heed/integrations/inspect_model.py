"""A model for Inspect: ``inspect eval task.py --model heed/embedded`` asks one that `heed.load` finds, in this process.

It is loaded when it is first asked, so that logs which name it can be scored again without it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from heed.errors import InputError
from heed.extras import require

if TYPE_CHECKING:
    from heed.upstream import Answer, LocalUpstream

_model: Any = require("inspect_ai.model", extra="inspect")
_anyio = require("anyio", extra="inspect")

_MAX_TOKENS = 512
_UNKNOWN = {"top_p", "top_k", "stop_seqs", "frequency_penalty", "presence_penalty", "logit_bias"} | {
    "logprobs",
    "num_choices",
    "response_schema",
}
STOP_REASONS = {"stop": "stop", "length": "max_tokens", "timeout": "unknown"}
"""What Inspect calls the ends of an `Answer`."""


class HeedAPI(_model.ModelAPI):
    """Answers with `heed.upstream.LocalUpstream`: greedy without a temperature, one sample at a time, no tools.

    Parameters
    ----------
    model_name
        What `heed.load` takes.
    base_url, api_key, config
        As Inspect hands them over; there is no server, and so no address and no key.
    dtype, device
        As for `heed.load`; ``-M device=cuda`` on the command line.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: Any = None,
        *,
        dtype: str = "auto",
        device: str | None = None,
    ) -> None:
        if base_url:
            raise InputError(f"expected no address for a model in this process, found {base_url!r}: leave it out")
        super().__init__(model_name, base_url, api_key, [], config or _model.GenerateConfig())
        self._dtype, self._device = dtype, device

    @cached_property
    def _upstream(self) -> "LocalUpstream":
        from heed.model import load
        from heed.upstream import LocalUpstream

        return LocalUpstream(load(self.model_name, dtype=self._dtype, device=self._device))

    async def generate(self, input: Sequence[Any], tools: Sequence[Any], tool_choice: Any, config: Any) -> Any:  # noqa: A002 - theirs
        """Answer Inspect's messages.

        Raises
        ------
        InputError
            If tools are offered, or a setting is asked for that this model does not have.
        """
        del tool_choice
        asked = config.model_dump(exclude_none=True)
        unknown = sorted(_UNKNOWN & asked.keys())
        if tools or unknown:
            raise InputError(f"expected neither tools nor {', '.join(sorted(_UNKNOWN))}, found {unknown or 'tools'}")
        messages = [{"role": message.role, "content": message.text} for message in input]

        def answer() -> "Answer":
            return self._upstream.answer(
                messages,
                max_new_tokens=asked.get("max_tokens", _MAX_TOKENS),
                temperature=asked.get("temperature", 0.0),
                seed=asked.get("seed"),
            )

        return output_of(await _anyio.to_thread.run_sync(answer))

    def max_connections(self) -> int:
        """One sample at a time: the model is here."""
        return 1


def output_of(answer: "Answer") -> Any:
    """An answer as Inspect's ``ModelOutput``."""
    output = _model.ModelOutput.from_content(answer.model, answer.text, stop_reason=STOP_REASONS[answer.finish])
    output.time = answer.seconds
    if answer.usage is not None:
        read, written = answer.usage.prompt_tokens, answer.usage.completion_tokens
        output.usage = _model.ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
    return output


@_model.modelapi(name="heed")
def heed() -> type[HeedAPI]:
    """The provider of the models ``heed/…``."""
    return HeedAPI
