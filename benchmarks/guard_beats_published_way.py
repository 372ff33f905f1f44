"""One guard check against the published way: same machine, same number format, same texts, interleaved.

Each repeat has data of its own, and all ways of a repeat the same. An application's instruction is constant, so the
guard knows its beginning after two checks; the check of a guard that has seen nothing stands in the details.
"""

from collections.abc import Callable

from harness import Claim, Timings, at_least, interleaved, main, pick, skipped
from inputs import INSTRUCTION, data_of, dtype_name, embedded, guard_of
from machine import NO_BF16, dtypes, has_bf16
from published import PublishedWay

import heed

BARS = {("float32", 512): 1.6, ("float32", 2048): 5.0, ("bfloat16", 512): 1.1, ("bfloat16", 2048): 6.0}
SHIPPED_BARS = {512: 4.0, 2048: 12.0}
_WARM = 96


def ways_of(model: heed.Model, data: list[str]) -> dict[str, Callable[[int], object]]:
    """The published way, the guard that knows the instruction, and the guard that has seen nothing."""
    dtype, guard = dtype_name(model), guard_of(model)
    other = embedded(dtype)
    published = PublishedWay(other.hf, other.tokenizer, heads=guard.profile.heads.tolist())
    fresh = [guard_of(model) for _ in data]
    for seed in (-1, -2, -3):
        guard.check(INSTRUCTION, data_of(model, _WARM, seed=seed))
    published.check(INSTRUCTION, data_of(model, _WARM, seed=-1))
    return {
        f"published {dtype}": lambda repeat: published.check(INSTRUCTION, data[repeat]),
        f"guard {dtype}": lambda repeat: guard.check(INSTRUCTION, data[repeat]),
        f"first check {dtype}": lambda repeat: fresh[repeat].check(INSTRUCTION, data[repeat]),
    }


def compare(models: dict[str, heed.Model], tokens: int, repeats: int) -> tuple[Timings, dict[str, int]]:
    """Time all ways at one length; and how many tokens of the prompt the guard needed not read again."""
    any_model = next(iter(models.values()))
    data = [data_of(any_model, tokens, seed=repeat) for repeat in range(repeats)]
    ways: dict[str, Callable[[int], object]] = {}
    for model in models.values():
        ways |= ways_of(model, data)
    return interleaved(ways, repeats=repeats, warm_ups=0), {
        f"layers of {model.anatomy.layers}": guard_of(model).profile.depth for model in models.values()
    }


def claims_of(times: Timings, depth: dict[str, int], tokens: int, shipped: str) -> list[Claim]:
    """Judge one length."""
    claims = []
    for dtype in dtypes():
        name = f"published way / guard, {tokens} tokens, {dtype}"
        slow, fast = f"published {dtype}", f"guard {dtype}"
        first = {"first check, nothing cached": round(times.ratio(slow, f"first check {dtype}"), 3)}
        details = times.details(slow, fast) | first | depth
        claims.append(at_least(name, times.ratio(slow, fast), BARS.get((dtype, tokens), 1.0), **details))
    name = f"published way in float32 / guard as shipped ({shipped}), {tokens} tokens"
    if not has_bf16():
        return [*claims, skipped(name, NO_BF16)]
    slow, fast = "published float32", f"guard {shipped}"
    first = {"first check, nothing cached": round(times.ratio(slow, f"first check {shipped}"), 3)}
    details = times.details(slow, fast) | first | depth
    return [*claims, at_least(name, times.ratio(slow, fast), SHIPPED_BARS.get(tokens, 1.0), **details)]


def measure() -> list[Claim]:
    """Each length, all number formats in the same repeats."""
    shipped = dtype_name(embedded())
    models = {dtype: embedded(dtype) for dtype in dtypes()}
    claims = []
    for tokens, repeats in pick([(512, 7), (2048, 3)], [(128, 2)]):
        times, depth = compare(models, tokens, repeats)
        claims += claims_of(times, depth, tokens, shipped)
    if not has_bf16():
        claims.append(skipped("published way / guard, bfloat16", NO_BF16))
    return claims


if __name__ == "__main__":
    main(__file__, measure)
