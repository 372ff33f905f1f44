"""One guard check against the published way: same machine, same number format, same texts, interleaved.

Each repeat has data of its own, and all ways of a repeat the same. An application's instruction is constant, so the
guard knows its beginning after two checks; the check of a guard that has seen nothing stands in the details.
"""

from collections.abc import Callable

import heed
from harness import Claim, Timings, at_least, interleaved, main, pick, skipped
from inputs import INSTRUCTION, data_of, dtype_name, embedded, guard_of
from machine import NO_BF16, dtypes, has_bf16
from published import PublishedWay

BARS = {("float32", 512): 1.6, ("float32", 2048): 5.0, ("bfloat16", 512): 1.1, ("bfloat16", 2048): 6.0}
SHIPPED_BARS = {512: 4.0, 2048: 12.0}
_WARM = 96


def ways_of(model: heed.Model, data: list[str]) -> dict[str, Callable[[int], object]]:
    """The published way, the guard that knows the instruction, and the guard that has seen nothing."""
    dtype, guard = dtype_name(model), guard_of(model)
    other = embedded(dtype)
    published = PublishedWay(other.hf, other.tokenizer)
    fresh = [guard_of(model) for _ in data]
    for seed in (-1, -2, -3):
        guard.check(INSTRUCTION, data_of(model, _WARM, seed=seed))
    published.check(INSTRUCTION, data_of(model, _WARM, seed=-1))
    return {
        f"published {dtype}": lambda repeat: published.check(INSTRUCTION, data[repeat]),
        f"guard {dtype}": lambda repeat: guard.check(INSTRUCTION, data[repeat]),
        f"first check {dtype}": lambda repeat: fresh[repeat].check(INSTRUCTION, data[repeat]),
    }


def compare(models: dict[str, heed.Model], tokens: int, repeats: int) -> Timings:
    """Time all ways at one length."""
    any_model = next(iter(models.values()))
    data = [data_of(any_model, tokens, seed=repeat) for repeat in range(repeats)]
    ways: dict[str, Callable[[int], object]] = {}
    for model in models.values():
        ways |= ways_of(model, data)
    return interleaved(ways, repeats=repeats, warm_ups=0)


def claims_of(times: Timings, tokens: int, shipped: str, depth: str) -> list[Claim]:
    """Judge one length."""

    def claim(name: str, slow: str, fast: str, bar: float) -> Claim:
        first = round(times.ratio(f"published {slow}", f"first check {fast}"), 3)
        details = times.details(f"published {slow}", f"guard {fast}")
        details |= {"first check, nothing cached": first, "layers read": depth}
        ratio = times.ratio(f"published {slow}", f"guard {fast}")
        return at_least(f"{name}, {tokens} tokens", ratio, bar, details)

    same = [
        claim(f"published way / guard, both {dtype}", dtype, dtype, BARS.get((dtype, tokens), 1.0))
        for dtype in dtypes()
    ]
    name = f"published way in float32 / guard as shipped ({shipped})"
    if not has_bf16():
        return [*same, skipped(f"{name}, {tokens} tokens", NO_BF16)]
    return [*same, claim(name, "float32", shipped, SHIPPED_BARS.get(tokens, 1.0))]


def measure() -> list[Claim]:
    """Each length, all number formats in the same repeats."""
    shipped = dtype_name(embedded())
    models = {dtype: embedded(dtype) for dtype in dtypes()}
    depth = f"{guard_of(models['float32']).profile.depth} of {models['float32'].anatomy.layers}"
    claims = []
    for tokens, repeats in pick([(512, 7), (2048, 3)], [(128, 2)]):
        claims += claims_of(compare(models, tokens, repeats), tokens, shipped, depth)
    if not has_bf16():
        claims.append(skipped("published way / guard, bfloat16", NO_BF16))
    return claims


if __name__ == "__main__":
    main(__file__, measure)
