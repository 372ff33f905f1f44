"""Attention memory of one check is at most a hundredth of the published way's, by counting the tensors both keep.

Published: the fp16 maps of all layers, alive together. heed: what the probes return for the layers of the profile,
the logsumexps of all rows, and the largest row block that lives for a moment. Each way runs in a process of its own,
whose peak beyond the loaded model is told as well; that peak holds everything else of a pass, too.
"""

import json
import sys

from torch import Tensor

from harness import Claim, at_most, main, pick
from heed.guard.prompt import encode_pair
from heed.probe import LayerView, Moment, Probe, TailRows, read
from heed.probe.layers import layers_of
from heed.probe.prompt import tokenizer_of
from heed.profile import LearnedProfile
from heed.text.windows import windows
from inputs import INSTRUCTION, data_of, embedded, guard_of
from machine import child, held_bytes, peak_bytes, reset_peak
from published import PublishedWay

BAR = 0.01
DTYPE = "float32"


class Counting:
    """A probe that hands on what another one says and counts the attention that was held for it."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.kept = 0
        self.lse = 0
        self.block = 0

    def __call__(self, view: LayerView, moment: Moment, /) -> Tensor:
        """Reduce a layer; count its result, its logsumexps, and the rows of weights that were made for it."""
        value = self.probe(view, moment)
        self.kept += value.numel() * 4
        self.lse = 0 if view.lse_of_rows is None else view.lse_of_rows.numel() * 4
        self.block = max(self.block, value.numel() * 4)
        return value

    @property
    def nbytes(self) -> int:
        """Results of all layers; logsumexps and row block of the one at hand."""
        return self.kept + self.lse + self.block


def guard_bytes(tokens: int) -> dict[str, int]:
    """What one reading of the guard keeps, and the peak of one check."""
    model = embedded(DTYPE)
    guard = guard_of(model)
    guard.check(INSTRUCTION, data_of(model, 96, seed=-1))
    data = data_of(model, tokens, seed=0)
    before = held_bytes()
    reset_peak()
    guard.check(INSTRUCTION, data)
    peak = peak_bytes() - before
    profile = guard.profile
    assert isinstance(profile, LearnedProfile)
    layers = [key for key in layers_of(model).keys if key.index in profile.layers]
    spans = windows(data, size=profile.window, overlap=profile.overlap)
    texts = [data[span.slice()] for span in spans]
    prompts = [encode_pair(INSTRUCTION, text, tokenizer_of(model), question=profile.question) for text in texts]
    counting = Counting(TailRows(profile.rows))
    read(model, prompts, {"rows": counting}, layers=layers)
    return {"bytes": counting.nbytes, "peak": peak}


def published_bytes(tokens: int) -> dict[str, int]:
    """The maps the published way keeps, and the peak of one check."""
    model = embedded(DTYPE)
    way = PublishedWay(model.hf, model.tokenizer)
    way.check(INSTRUCTION, data_of(model, 96, seed=-1))
    prompt = way.encode(INSTRUCTION, data_of(model, tokens, seed=0))
    before = held_bytes()
    reset_peak()
    reading = way.read(*prompt)
    return {"bytes": reading.map_bytes, "peak": peak_bytes() - before}


def measure() -> list[Claim]:
    """Both in processes of their own."""
    tokens = pick(1024, 128)
    guard_of(embedded(DTYPE))
    ours, theirs = (child(__file__, who, str(tokens)) for who in ("guard", "published"))
    details = {
        "heed keeps": f"{ours['bytes'] / 1e6:.3f} MB",
        "published way keeps": f"{theirs['bytes'] / 1e6:.1f} MB",
        "peak beyond the model, heed": f"{ours['peak'] / 1e6:.0f} MB",
        "peak beyond the model, published way": f"{theirs['peak'] / 1e6:.0f} MB",
    }
    name = f"attention memory of the guard / published way, {tokens} tokens, {DTYPE}"
    return [at_most(name, ours["bytes"] / theirs["bytes"], BAR, details)]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"guard": guard_bytes, "published": published_bytes}[sys.argv[1]](int(sys.argv[2]))))
    else:
        main(__file__, measure)
