"""A trace or a layer's view as a picture: tokens with their names, numbers of every head, and exact weights on demand.

Comes in: a `Trace`. Goes out: an `AttentionScene`, numpy at its surface. It does not know how anything is drawn.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heed.attention.score import DotScore
from heed.errors import InputError
from heed.probe.grounds import grounds_of, recall
from heed.probe.headmap import HeadMap
from heed.probe.statistics import HeadStatistics, head_statistics, sampled
from heed.probe.view import Kind, LayerKey, LayerView, Stack, usual
from heed.text.attention import MEAN, AttentionScene, Factors, Flow, Grounds, Statistic, Store
from heed.text.evidence import Scene
from heed.text.labels import Labels
from heed.text.span import TokenSpan

if TYPE_CHECKING:
    from heed.probe.trace import Trace

_HELD_HEADS = 16
"""Heads whose queries, keys and logsumexps are kept in float32 between two questions."""
_COMPARED_ROWS = 16
_STORES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_INSTRUCTIONS = ("system", "instruction")


class TraceMaps:
    """The maps of some layers of a trace, by layer number; see `heed.text.attention.Maps`.

    Raises
    ------
    InputError
        If a view holds more than one prompt, or layers differ in their heads, rows or keys.
    """

    def __init__(self, views: Mapping[int, LayerView], identity: str) -> None:
        shapes = {(view.q.shape[0], view.q.shape[1], view.n_rows, view.n_keys) for view in views.values()}
        if len(shapes) != 1 or next(iter(shapes))[0] != 1:
            raise InputError(
                f"expected layers of one prompt with as many heads, rows and keys as each other, found "
                f"(prompts, heads, rows, keys) {sorted(shapes)}: show some that are alike (layers=[…])"
            )
        self.identity = identity
        held = self._views = dict(views)
        self.heads = tuple(range(next(iter(shapes))[1]))
        self._open = lru_cache(_HELD_HEADS)(lambda layer, head: HeadMap(held[layer], head))

    def weights(self, layer: int, head: int, rows: slice, keys: slice) -> Float[np.ndarray, "q t"]:
        """Exact weights of some rows on neighbouring keys; NaN where a key is hidden."""
        heads = self.heads if head == MEAN else (head,)
        total = self._open(layer, heads[0]).block(rows, keys)
        for one in heads[1:]:
            total += self._open(layer, one).block(rows, keys)
        return total / len(heads) if len(heads) > 1 else total

    def visible(self, layer: int) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
        """For each row the stretch of keys outside of which it sees nothing."""
        mask = self._views[layer].terms.mask
        return mask.start[0].cpu().numpy(), mask.end[0].cpu().numpy()

    def factors(self, layer: int, store: Store) -> Factors | None:
        """The factors of a layer; None where its score is no dot product, or it has a bias, or a mask with holes."""
        view = self._views[layer]
        terms, rule = view.terms, view.terms.rule
        if not isinstance(rule, DotScore) or terms.bias is not None or terms.mask.dense is not None:
            return None
        q, k = (_rounded(tensor, store) for tensor in (view.q, view.k))
        if not bool(q.isfinite().all() & k.isfinite().all()):
            return None
        again = LayerView(view.key, q, k, terms, torch.cat(list(_lse(q, k, view)), 2))
        rows = (sampled(0, view.n_rows, _COMPARED_ROWS) + view.first_row)[None]
        assert again.lse_of_rows is not None
        return Factors(
            q=q[0].cpu().numpy(),
            k=k[0].cpu().numpy(),
            lse=again.lse_of_rows[0].nan_to_num(neginf=0.0).cpu().numpy(),
            group=tuple(head // (q.shape[1] // k.shape[1]) for head in self.heads),
            scale=rule.scale,
            softcap=rule.softcap,
            store=store,
            error=float((again.rows(rows) - view.rows(rows)).abs().max()),
        )


def describe(
    trace: "Trace",
    *,
    stack: Stack | None = None,
    kind: Kind | None = None,
    layers: Sequence[int] | None = None,
    layer: int | None = None,
    head: int = MEAN,
    title: str = "",
    statistics: HeadStatistics | None = None,
    evidence: Scene | None = None,
) -> AttentionScene:
    """A trace as a picture.

    Parameters
    ----------
    stack, kind
        Which attention of an encoder-decoder model; by default what looks across, else the last stack's own.
    layers, layer, head
        Which layers can be opened, by default all; what is open first (head -1 is the mean of all). Statistics are of
        all.
    title
        What stands above; by default the model's name.
    statistics
        Those of the chosen layers and of `spans_of` the trace, where they are known; else they are measured.
    evidence
        A verdict's or citation's scene about the same text: its marks are linked with the tokens, and each head is
        measured by whether it finds them (`heed.probe.grounds.recall`).

    Raises
    ------
    InputError
        If there is no such layer or head, layers differ in their heads, rows or keys, or the evidence is of other text.
    """
    keys = _chosen(trace, stack, kind)
    rows, columns = labels_of(trace, keys[-1])
    views = {key.index: trace.views[key] for key in keys}
    first, maps = trace.views[keys[0]], TraceMaps(views, _identity(trace, keys))
    found = statistics or head_statistics(trace, layers=keys, spans=spans_of(columns))
    grounds = None if evidence is None else grounds_of(columns, evidence)
    dtype = str(first.q.dtype).removeprefix("torch.")
    scene = AttentionScene(
        kind="trace",
        title=title or f"Attention of {trace.model_name or 'a layer'}",
        tokens=columns.tokens,
        layers=tuple(views),
        heads=maps.heads,
        n_rows=first.n_rows,
        maps=maps,
        exactness=_exactness(dtype),
        model=trace.model_name,
        dtype=dtype,
        row_tokens=None if rows is columns else rows.tokens,
        row_offset=first.first_row,
        special=columns.special,
        spans=columns.spans,
        sinks=(0,),
        statistics=(*_statistics(found), *_recall(trace, keys, grounds)),
        flow=_flow(found),
        grounds=grounds,
        facts=tuple(_facts(trace, keys, found)),
        layer=layer,
        head=head,
    )
    return scene if layers is None else scene.only(layers)


def describe_view(view: LayerView, tokens: Sequence[str] | None = None) -> AttentionScene:
    """One layer of one prompt as a picture.

    Parameters
    ----------
    tokens
        The text of each key; by default their numbers.

    Raises
    ------
    InputError
        If the view holds more than one prompt, or there are not as many tokens as keys.
    """
    from heed.probe.trace import Trace

    count = view.first_key + view.n_keys
    if tokens is not None and len(tokens) != count:
        raise InputError(f"expected {count} tokens, one for each key, found {len(tokens)}")
    labels = None if tokens is None else Labels(tuple(tokens))
    identity = hashlib.sha256(view.q.detach().float().cpu().numpy().tobytes()).hexdigest()
    once = np.arange(count)  # no token comes twice: there is nothing to tell induction by
    trace = Trace({view.key: view}, once, None, "", identity, 0.0, once, labels, labels)
    return describe(trace, title=f"Attention of {view.key}")


def _chosen(trace: "Trace", stack: Stack | None, kind: Kind | None) -> tuple[LayerKey, ...]:
    keys = usual(trace.layers) if stack is None and kind is None else trace.layers
    stack, kind = stack or keys[-1].stack, kind or keys[-1].kind
    found = tuple(key for key in keys if (key.stack, key.kind) == (stack, kind))
    if not found:
        raise InputError(f"expected one of {', '.join(map(str, trace.layers))}; found {stack} {kind}")
    return found


def spans_of(labels: Labels) -> dict[str, TokenSpan]:
    """The named stretches of tokens, by name."""
    return {span.name: TokenSpan(span.start, span.end) for span in labels.spans}


def labels_of(trace: "Trace", key: LayerKey) -> tuple[Labels, Labels]:
    """What rows and keys of a layer are called; the same value where they are the same tokens."""
    view = trace.views[key]
    own = trace.labels if key.stack == "encoder" else trace.decoder_labels or trace.labels
    known = (own, trace.labels if key.kind == "cross" else own)
    counts = view.first_row + view.n_rows, view.first_key + view.n_keys
    rows, columns = (
        labels if labels is not None and len(labels.tokens) == count else Labels(tuple(f"#{i}" for i in range(count)))
        for labels, count in zip(known, counts, strict=True)
    )
    return (rows, columns) if key.kind == "cross" else (columns, columns)


def _statistics(found: HeadStatistics) -> Iterator[Statistic]:
    read = f"all {found.rows:,}" if found.rows_read == found.rows else f"{found.rows_read:,} of {found.rows:,}"
    layers = tuple(key.index for key in found.layers)
    over = f"mean over {read} rows"
    texts = {
        "entropy": ("Entropy", "How widely rows look: 0 is one token, log n is n tokens evenly"),
        "sink": ("First token", "Attention on the first token, where heads leave what they have no use for"),
        "previous": ("Previous token", "Attention on the token before"),
        "induction": ("Induction", "Attention on what followed the same token earlier"),
    }
    for key, (label, said) in texts.items():
        if not np.isnan(found.values[key]).all():
            unit = "nats" if key == "entropy" else "share"
            yield Statistic(key, label, f"{said}; {over}.", unit, layers, found.values[key])  # type: ignore[arg-type]
    for place, name in enumerate(found.spans):
        if name in _INSTRUCTIONS:
            said = f"Attention of the last token on {name!r}."
            yield Statistic("instruction", "Instruction", said, "share", layers, found.last[..., place])
            return


def _recall(trace: "Trace", keys: Sequence[LayerKey], grounds: Grounds | None) -> Iterator[Statistic]:
    """From the answer's rows, where the trace has one; else from the last row."""
    if grounds is None:
        return
    views = [trace.views[key] for key in keys]
    first, stop = views[0].first_row, views[0].first_row + views[0].n_rows
    answer = spans_of(labels_of(trace, keys[-1])[0]).get("answer", TokenSpan(stop - 1, stop))
    rows = np.arange(max(first, answer.start), min(stop, answer.end))
    values, chance = recall(views, grounds, rows)
    read = f"from {len(rows):,} {'row' if len(rows) == 1 else 'rows'}; chance finds {chance:.2f}"
    said = f"Of the tokens the evidence marks most, the share among as many that the head looks at most, {read}."
    yield Statistic("recall", "Citation recall", said, "share", tuple(key.index for key in keys), values)


def _flow(found: HeadStatistics) -> Flow | None:
    if not found.spans:
        return None
    layers = tuple(key.index for key in found.layers)
    return Flow(found.spans, layers, found.mass, found.rollout, found.rows_read, found.rows)


def _facts(trace: "Trace", keys: Sequence[LayerKey], found: HeadStatistics) -> Iterator[tuple[str, str]]:
    view = trace.views[keys[0]]
    yield "model", trace.model_name or "not named"
    yield "tokens", f"{view.n_keys:,}" if view.n_keys == view.n_rows else f"{view.n_rows:,} rows, {view.n_keys:,} keys"
    yield "layers × heads", f"{len(keys)} × {view.q.shape[1]}"
    yield "computed in", str(view.q.dtype).removeprefix("torch.")
    if keys[0].kind == "cross" or len({key.stack for key in trace.layers}) > 1:
        yield "attention", f"{keys[0].stack}, {keys[0].kind}"
    if trace.cached:
        yield "cached", f"analysed before, found in {trace.seconds:.2f} s"
    elif trace.seconds:
        yield "taken in", f"{trace.seconds:.2f} s"
    yield "rows measured", f"{found.rows_read:,} of {found.rows:,}"


def _exactness(dtype: str) -> str:
    if dtype == "float32":
        return "exact: recomputed from q, k and the logsumexp of each row in float32"
    return f"exact: recomputed in float32 from the model's own {dtype} q and k"


def _identity(trace: "Trace", keys: Sequence[LayerKey]) -> str:
    digest = hashlib.sha256(f"{trace.fingerprint} {trace.views[keys[0]].q.dtype}".encode())
    digest.update(" ".join(map(str, keys)).encode())
    for ids in (trace.ids, trace.decoder_ids):
        digest.update(b"none" if ids is None else ids.astype("<i8").tobytes())
    return digest.hexdigest()[:32]


def _rounded(tensor: Tensor, store: Store) -> Tensor:
    return tensor.to(_STORES[store]).float()


def _lse(q: Float[Tensor, "1 H Q D"], k: Float[Tensor, "1 K T D"], view: LayerView) -> Iterator[Tensor]:
    step = max(1, (1 << 22) // (q.shape[1] * k.shape[2]))
    for first in range(0, q.shape[2], step):
        rows = torch.arange(first, min(first + step, q.shape[2]), device=q.device)
        yield view.terms.lse(q[:, :, rows], k, rows[None])
