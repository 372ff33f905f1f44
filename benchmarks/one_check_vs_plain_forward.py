"""One guard check costs less than one plain forward with the last token's logits: the pass ends early.

The check tokenises, reads and judges; the forward gets token ids. Judged twice: for a guard that has seen nothing
before, and for one that knows the application's constant instruction. Data differ in each repeat.
"""

from functools import partial

import torch

import heed
from harness import Claim, at_most, interleaved, main, pick, skipped
from heed.guard.prompt import encode_pair
from heed.probe.prompt import tokenizer_of
from inputs import INSTRUCTION, data_of, dtype_name, embedded, guard_of
from machine import NO_BF16, dtypes

BAR = 0.85


def forward(model: heed.Model, prompts: list[torch.Tensor], repeat: int) -> object:
    """The model's own forward, with logits of the last token."""
    with torch.no_grad():
        return model.hf(input_ids=prompts[repeat], use_cache=False, logits_to_keep=1)


def check(guards: list[heed.Guard], data: list[str], repeat: int) -> object:
    """One check, each repeat with the guard that is its turn."""
    return guards[repeat % len(guards)].check(INSTRUCTION, data[repeat])


def compare(model: heed.Model, tokens: int, repeats: int) -> list[Claim]:
    """First and later checks against the plain forward."""
    data = [data_of(model, tokens, seed=seed) for seed in range(repeats + 1)]  # the last one warms up
    encoded = [encode_pair(INSTRUCTION, text, tokenizer_of(model)) for text in data]
    knowing = guard_of(model)
    for seed in (-1, -2, -3):
        knowing.check(INSTRUCTION, data_of(model, 96, seed=seed))
    ways = {
        "forward": partial(forward, model, [torch.from_numpy(prompt.ids)[None] for prompt in encoded]),
        "first check": partial(check, [guard_of(model) for _ in data], data),
        "later check": partial(check, [knowing], data),
    }
    times = interleaved(ways, repeats=repeats)
    depth = {"layers read": f"{knowing.profile.depth} of {model.anatomy.layers}"}
    where = f"{tokens} tokens, {dtype_name(model)}"
    return [
        at_most(
            f"{way} / plain forward with last logits, {where}",
            times.ratio(way, "forward"),
            BAR,
            times.details(way, "forward") | depth,
        )
        for way in ("first check", "later check")
    ]


def measure() -> list[Claim]:
    """Each number format."""
    claims = []
    tokens, repeats = pick((512, 9), (128, 2))
    for dtype in dtypes():
        claims += compare(embedded(dtype), tokens, repeats)
    if "bfloat16" not in dtypes():
        claims.append(skipped("one check / plain forward with last logits, bfloat16", NO_BF16))
    return claims


if __name__ == "__main__":
    main(__file__, measure)
