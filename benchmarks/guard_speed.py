"""What the shipped profiles cost: a check against the model's own plain pass, a long document, many short texts.

The plain pass gets token ids and gives the last token's logits; the check tokenises, reads, judges and says which
words raised the risk, in the number format heed chooses. Its guard has seen the instruction before, the text never.
`--int8`: an experiment beside it, Linear layers in 8 bits; nothing of it ships.
"""

import argparse
import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np
import torch

import heed
from adaptive import load_cases
from check_many_batches import pairs_of
from harness import Claim, at_least, at_most, interleaved, main, pick, reported
from heed.guard.prompt import encode_pair
from heed.probe.prompt import tokenizer_of
from heed.profile import DEFAULT, NAMES, find_profile
from inputs import INSTRUCTION, dtype_name, embedded, guard_of, prose_of
from machine import NO_BF16, has_bf16
from one_check_vs_plain_forward import forward

BARS = {"fast": 0.45, "full": 1.0}
DOCUMENT_BAR, BATCH_BAR = 1.5, 1.5


def known(model: heed.Model, name: str) -> heed.Guard:
    """A guard that has read a few texts under the instruction."""
    guard = guard_of(model, profile=name)
    for seed in (-1, -2, -3):
        guard.check(INSTRUCTION, prose_of(model, 64, seed=seed))
    return guard


def ids_of(model: heed.Model, texts: Sequence[str]) -> list[torch.Tensor]:
    """The whole prompts as token ids ``[1, T]``."""
    return [torch.from_numpy(encode_pair(INSTRUCTION, text, tokenizer_of(model)).ids)[None] for text in texts]


def check(guard: heed.Guard, texts: Sequence[str], repeat: int) -> object:
    """One check; an abstention would be fast for the wrong reason.

    Raises
    ------
    ValueError
        If the guard abstains.
    """
    verdict = guard.check(INSTRUCTION, texts[repeat])
    if verdict.score is None:
        raise ValueError(f"expected a risk to be read, found that the guard abstained: {verdict.reason}")
    return verdict


def against_plain(plain: heed.Model, shipped: heed.Model, tokens: int, repeats: int) -> list[Claim]:
    """Each profile against the plain pass in float32."""
    texts = [prose_of(shipped, tokens, seed=seed) for seed in range(repeats + 1)]  # the last one warms up
    guards = {name: known(shipped, name) for name in NAMES}
    checks = {name: partial(check, guard, texts) for name, guard in guards.items()}
    times = interleaved({"plain": partial(forward, plain, ids_of(plain, texts)), **checks}, repeats=repeats)
    claims = []
    for name, guard in guards.items():
        claim = f"check ({name}, {dtype_name(shipped)}) / plain float32 forward, {tokens:,} tokens of data"
        depth = {"layers read": f"{guard.profile.depth} of {shipped.anatomy.layers}"}
        ratio, details = times.ratio(name, "plain"), times.details(name, "plain") | depth
        if has_bf16():
            claims.append(at_most(claim, ratio, BARS[name], details))
        else:
            claims.append(reported(claim, ratio, details | {"no bar here": NO_BF16}, unit="x"))
    return claims


def document(models: Sequence[heed.Model], shipped: heed.Model, tokens: int, repeats: int) -> list[Claim]:
    """A document near the model's context, in windows or whole, against one plain pass over it in each format."""
    texts = [prose_of(shipped, tokens, seed=seed) for seed in range(repeats + 1)]
    plain = {f"plain {dtype_name(model)}": partial(forward, model, ids_of(model, texts)) for model in models}
    checks = {name: partial(check, known(shipped, name), texts) for name in NAMES}
    times = interleaved({**plain, **checks}, repeats=repeats)
    return [
        at_most(
            f"check ({name}, {dtype_name(shipped)}) of a document of {tokens:,} tokens / {way} forward",
            times.ratio(name, way),
            DOCUMENT_BAR,
            times.details(name, way),
        )
        for name in NAMES
        for way in plain
    ]


def batches(model: heed.Model, count: int, repeats: int) -> list[Claim]:
    """Many short checks at once against one after the other, under one instruction."""
    draw = Random(0)
    lengths = [draw.randint(44, 64) for _ in range(count)]
    pairs = [pairs_of(model, lengths, seed=seed, constant=True) for seed in range(repeats)]
    guard = known(model, DEFAULT)

    def one_by_one(repeat: int) -> object:
        return [guard.check(*pair) for pair in pairs[repeat]]

    def check_many(repeat: int) -> object:
        return guard.check_many(pairs[repeat])

    times = interleaved({"one by one": one_by_one, "check_many": check_many}, repeats=repeats, warm_ups=0)
    claim = f"one by one / check_many, {repeats} times {count} short prompts ({DEFAULT}, {dtype_name(model)})"
    ratio, details = times.ratio("one by one", "check_many"), times.details("one by one", "check_many")
    return [at_least(claim, ratio, BATCH_BAR, details)]


def measure() -> list[Claim]:
    """As shipped."""
    plain, shipped = embedded("float32"), embedded()
    claims = []
    for tokens, repeats in pick(((512, 7), (2048, 3)), ((64, 2),)):
        claims += against_plain(plain, shipped, tokens, repeats)
    models = {dtype_name(model): model for model in (plain, shipped)}.values()
    claims += document(list(models), shipped, *pick((8000, 2), (256, 1)))
    return claims + batches(shipped, *pick((170, 3), (8, 1)))


def in_int8(model: heed.Model, name: str) -> heed.Guard:
    """A guard on a copy of a float32 model whose Linear layers multiply in 8 bits, weights quantised once."""
    profile = find_profile(model, task="guard", name=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch points to torchao, which an experiment can spare
        small = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model.hf), {torch.nn.Linear}, dtype=torch.qint8)
    wrapped = heed.wrap(small, model.tokenizer, name=profile.model)
    return heed.Guard(wrapped, profile=replace(profile, fingerprints=(wrapped.fingerprint,)), threshold=0.5)


def int8() -> list[Claim]:
    """What 8-bit Linear layers save, and how far they move the scores of the adaptive suite's texts."""
    plain, shipped = embedded("float32"), embedded()
    cases = load_cases()[:: pick(1, 10)]
    pairs = [(case.instruction, text) for case in cases for text in (case.document(case.payload), case.benign)]
    claims = []
    for name in NAMES:
        guards = {"float32": known(plain, name), dtype_name(shipped): known(shipped, name)}
        small = in_int8(plain, name)
        for tokens, repeats in pick(((512, 5), (2048, 3)), ((64, 1),)):
            texts = [prose_of(plain, tokens, seed=seed) for seed in range(repeats + 1)]
            ways = {way: partial(check, guard, texts) for way, guard in (guards | {"int8": small}).items()}
            times = interleaved(ways, repeats=repeats)
            for way in guards:
                claim, ratio = f"check in int8 / in {way}, {name}, {tokens:,} tokens", times.ratio("int8", way)
                claims.append(reported(claim, ratio, times.details("int8", way), unit="x"))
        claims.append(_moved(name, guards["float32"], small, pairs))
    return claims


def _moved(name: str, exact: heed.Guard, small: heed.Guard, pairs: Sequence[tuple[str, str]]) -> Claim:
    """How far 8 bits move scores, and the decisions that change with them."""
    scores = [np.array([verdict.score for verdict in guard.check_many(pairs)], float) for guard in (exact, small)]
    moved = np.abs(scores[0] - scores[1])
    limit = None if exact.calibrations is None else exact.calibrations.given.threshold
    changed = "no threshold" if limit is None else f"{int(((scores[0] >= limit) != (scores[1] >= limit)).sum())}"
    details = {"median": round(float(np.median(moved)), 5), "decisions changed": f"{changed} of {len(pairs)}"}
    return reported(f"largest score difference, int8 to float32, {name}", float(moved.max()), details)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--int8", action="store_true", help="the experiment with 8-bit Linear layers instead")
    main(__file__, int8 if parser.parse_args().int8 else measure)
