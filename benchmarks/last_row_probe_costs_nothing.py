"""Reading costs nearly nothing: a pass with a last-row probe on all layers, and a trace, against the plain forward.

The plain forward is the base model with SDPA, no logits, no cache, on the same tokens. A reading ends when the last
layer has been heard, which spares that layer's attention and MLP; "to the end" is the same probe without this.
"""

from collections.abc import Callable
from functools import partial

import torch

import heed
from harness import Claim, at_most, interleaved, main, pick, skipped
from heed.guard.prompt import encode_pair, spans_of
from heed.interface.call import Call
from heed.probe import LastRowMass, LayerView, Moment, read
from heed.probe.batch import Batch
from heed.probe.forward import Passage, run_pass
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.text.encode import Encoded
from inputs import INSTRUCTION, data_of, dtype_name, embedded
from machine import NO_BF16, dtypes

PROBE_BAR, TRACE_BAR = 1.03, 1.10


def plain(model: heed.Model, ids: torch.Tensor, repeat: int) -> object:
    """The model's own forward."""
    del repeat
    with torch.no_grad():
        return model.hf.base_model(input_ids=ids, use_cache=False)


def probed(model: heed.Model, prompt: Encoded, repeat: int) -> object:
    """The mass of the last row on instruction and data, in all layers."""
    del repeat
    return read(model, [prompt], {"mass": LastRowMass()}, spans=[spans_of(prompt)])


def probed_to_the_end(model: heed.Model, prompt: Encoded, repeat: int) -> object:
    """The same, but the pass goes on after the last layer has been heard."""
    del repeat
    known = layers_of(model)
    names = {module: key for key, module in known.modules.items()}
    batch = Batch.of([prompt])
    moment, kept = Moment(batch.last_rows(), batch.members([spans_of(prompt)])), []

    def observe(call: Call) -> None:
        view = LayerView(names[call.module], call.q, call.k, call.terms, call.lse)
        kept.append(LastRowMass()(view, moment).numpy())

    run_pass(model, Passage(batch, frozenset(names)), observe)
    return kept


def traced(model: heed.Model, prompt: Encoded, repeat: int) -> object:
    """q, k and lse of all layers."""
    del repeat
    return heed.trace(model, prompt)


def compare(model: heed.Model, tokens: int, repeats: int) -> list[Claim]:
    """Probe and trace against the plain forward at one length."""
    assert model.hf.config._attn_implementation == "sdpa"
    prompt = encode_pair(INSTRUCTION, data_of(model, tokens, seed=0), tokenizer_of(model))
    ways: dict[str, Callable[[int], object]] = {
        "plain": partial(plain, model, torch.from_numpy(prompt.ids)[None]),
        "probe": partial(probed, model, prompt),
        "trace": partial(traced, model, prompt),
    }
    if tokens <= 512:
        ways["probe to the end"] = partial(probed_to_the_end, model, prompt)
    times = interleaved(ways, repeats=repeats)
    details = times.details("probe", "plain")
    if tokens <= 512:
        details["probe to the end / plain"] = round(times.ratio("probe to the end", "plain"), 4)
    where = f"{tokens} tokens, {dtype_name(model)}"
    return [
        at_most(f"last-row probe / plain forward, {where}", times.ratio("probe", "plain"), PROBE_BAR, details),
        at_most(
            f"trace / plain forward, {where}",
            times.ratio("trace", "plain"),
            TRACE_BAR,
            times.details("trace", "plain"),
        ),
    ]


def measure() -> list[Claim]:
    """Each number format at each length."""
    claims = []
    for dtype in dtypes():
        model = embedded(dtype)
        for tokens, repeats in pick([(512, 9), (2048, 5)], [(96, 2)]):
            claims += compare(model, tokens, repeats)
    if "bfloat16" not in dtypes():
        claims.append(skipped("last-row probe / plain forward, bfloat16", NO_BF16))
    return claims


if __name__ == "__main__":
    main(__file__, measure)
