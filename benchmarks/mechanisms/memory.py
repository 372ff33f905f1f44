"""How much memory attention takes beside its inputs and results, each metric and pass in a process of its own.

The peak of the process is reset once inputs lie in memory and a short call has loaded all code; transient is the peak
less what is held before and less the results (the output, in a train step the gradients too). The bar is twice q, k, v
and the output together, so that the ratio to torch's attention, reported beside it, is about one.
"""

import gc
import json
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import METRICS, Case
from harness import THREADS, Claim, Skip, at_most, main, pick, reported, skipped
from heed.attention import distance_attention
from machine import child, held_bytes, peak_bytes, reset_peak

LENGTH = pick(16384, 256)
MOST_GB = 24.0
_ONE = "--one"


def transient(case: Case, *, by_torch: bool) -> dict[str, float]:
    """Bytes and seconds of one call."""
    attend(Case(case.metric, 64, case.train), by_torch)
    assert case.inputs
    gc.collect()  # what earlier work left behind must not be freed during the call
    held = held_bytes()
    reset_peak()
    started = perf_counter()
    results = attend(case, by_torch)
    seconds, peak = perf_counter() - started, peak_bytes()
    made = sum(x.nbytes for x in results)
    return {"transient": max(0, peak - held - made), "peak": peak, "seconds": seconds}


def attend(case: Case, by_torch: bool) -> list[Tensor]:
    """The output and, in a train step, the gradients."""
    *inputs, grad = case.inputs
    with torch.set_grad_enabled(case.train):
        out = scaled_dot_product_attention(*inputs) if by_torch else distance_attention(*inputs, **case.options)
    return [out.detach(), *(torch.autograd.grad(out, inputs, grad) if case.train else ())]


def compare(metric: str, train: bool) -> list[Claim]:
    """One metric: its transient memory, and what all of the process took."""
    case = Case(metric, LENGTH, train)
    if case.path != "fused":
        return [skipped(f"transient memory, {metric}, {case.what}", f"the path is {case.path}: no kernel here")]
    found = _measured(metric, train)
    four = 4 * case.heads * case.length * case.width * 4
    details = {f"{name} MB": round(found[name] / 1e6, 1) for name in ("transient", "peak")}
    details |= {"q, k, v, out MB": round(four / 1e6, 1), "seconds": round(found["seconds"], 1)}
    return [
        at_most(f"transient / (q, k, v, out), {metric}, {case.what}", found["transient"] / four, 2.0, details),
        at_most(f"memory of the process, {metric}, {case.what}", found["peak"] / 1e9, MOST_GB, details, unit="GB"),
    ]


def _measured(metric: str, train: bool) -> dict[str, float]:
    found = child(__file__, _ONE, metric, str(int(train)))
    if "skipped" in found:
        raise Skip(found["skipped"])
    return found


def _one(metric: str, train: bool) -> None:
    """What the process of its own does; ``sdpa`` is torch's attention."""
    torch.set_num_threads(THREADS)
    case = Case("dot" if metric == "sdpa" else metric, LENGTH, train)
    try:
        print(json.dumps(transient(case, by_torch=metric == "sdpa")))
    except Skip as reason:
        print(json.dumps({"skipped": str(reason)}))


def measure() -> list[Claim]:
    """Torch's attention first, then every metric, forward and train step."""
    claims = []
    for train in (False, True):
        case = Case("dot", LENGTH, train)
        four = 4 * case.heads * case.length * case.width * 4
        plain = _measured("sdpa", train)
        claims.append(
            reported(f"transient / (q, k, v, out), torch SDPA, {case.what}", plain["transient"] / four, unit="x")
        )
        claims += [claim for metric in pick(METRICS, ("l1", "cosine")) for claim in compare(metric, train)]
    return claims


if __name__ == "__main__":
    if sys.argv[1:2] == [_ONE]:
        _one(sys.argv[2], sys.argv[3] == "1")
    else:
        main(__file__, measure)
