"""`check_many` beats one check after the other on short prompts, is never slower on mixed ones, and says the same.

Short: 200 prompts of at most 64 tokens in all, template included; once under one constant instruction, whose
beginning both ways keep, and once each under its own. Mixed: 44 to 500 tokens.
"""

from collections.abc import Sequence
from random import Random

import heed
from harness import Claim, Timings, at_least, at_most, interleaved, main, pick
from inputs import INSTRUCTION, data_of, dtype_name, embedded, guard_of

SHORT_BAR, MIXED_BAR, SCORE_BAR = 1.4, 1.0, 1e-4

Pairs = Sequence[tuple[str, str]]


def pairs_of(model: heed.Model, lengths: Sequence[int], *, seed: int, constant: bool) -> list[tuple[str, str]]:
    """Pairs whose whole prompts have these lengths, under one instruction or one each."""
    draw = Random(seed)
    pairs = []
    for place, tokens in enumerate(lengths):
        own = f"Desk {draw.randrange(1000)}: summarize this, please."
        instruction = INSTRUCTION if constant else own
        data = data_of(model, tokens, seed=seed * 10_000 + place, instruction=instruction)
        pairs.append((instruction, data))
    return pairs


def compare(model: heed.Model, lengths: Sequence[int], *, constant: bool, repeats: int) -> Timings:
    """One by one against `check_many`, each repeat with pairs and guards of its own."""
    pairs = [pairs_of(model, lengths, seed=seed, constant=constant) for seed in range(repeats)]
    guards = [(guard_of(model), guard_of(model)) for _ in range(repeats)]
    few = pairs_of(model, list(lengths[:8]), seed=-1, constant=constant)
    for pair in few:
        guard_of(model).check(*pair)
    guard_of(model).check_many(few)

    def one_by_one(repeat: int) -> object:
        return [guards[repeat][0].check(*pair) for pair in pairs[repeat]]

    def check_many(repeat: int) -> object:
        return guards[repeat][1].check_many(pairs[repeat])

    return interleaved({"one by one": one_by_one, "check_many": check_many}, repeats=repeats, warm_ups=0)


def difference(model: heed.Model, pairs: Pairs) -> float:
    """The largest difference of a score between the two ways."""
    singles = [guard_of(model).check(*pair).score for pair in pairs]
    batched = [verdict.score for verdict in guard_of(model).check_many(pairs)]
    return max(abs(a - b) if a is not None and b is not None else 1.0 for a, b in zip(singles, batched, strict=True))


def measure() -> list[Claim]:
    """Times as shipped; scores in float32 and as shipped."""
    model = embedded()
    guard_of(model)
    shipped, draw = dtype_name(model), Random(0)
    short = [draw.randint(44, 64) for _ in range(pick(200, 8))]
    mixed = [draw.choice((44, 64, 100, 200, 500)) for _ in range(pick(40, 4))]
    repeats = pick(3, 1)
    claims = []
    for name, lengths, constant, bar in (
        (f"{len(short)} short prompts, one instruction", short, True, SHORT_BAR),
        (f"{len(short)} short prompts, an instruction each", short, False, SHORT_BAR),
        (f"{len(mixed)} prompts of mixed length", mixed, True, MIXED_BAR),
    ):
        times = compare(model, lengths, constant=constant, repeats=repeats)
        ratio, details = times.ratio("one by one", "check_many"), times.details("one by one", "check_many")
        claims.append(at_least(f"one by one / check_many, {name}, {shipped}", ratio, bar, details))
    lengths = short[: pick(40, 4)] + mixed[: pick(8, 2)]
    for dtype in dict.fromkeys(("float32", shipped)):
        again = embedded(dtype)
        found = difference(again, pairs_of(again, lengths, seed=9, constant=True))
        name = f"largest score difference of the two ways, {dtype}"
        claims.append(at_most(name, found, SCORE_BAR, {"pairs": len(lengths)}, unit=""))
    return claims


if __name__ == "__main__":
    main(__file__, measure)
