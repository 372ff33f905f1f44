"""Triton kernels of distance attention: one forward, one backward for queries, one for keys and values.

No S×S tensor: a program owns a block of rows and walks over blocks of the other side, with an online softmax
(Milakov and Gimelshein 2018, arXiv 1805.02867); the backward passes recompute the weights (Dao et al. 2022,
arXiv 2205.14135), from the highest logit of a row and its largest weight. Distances have no matrix form, so a tile of
them grows one dimension at a time: a column of queries against a row of keys, both stored with the dimension first. A
three-dimensional tile of differences would not fit into registers.

Knows pointers and sizes only; `triton_path` checks the arguments and lays out the memory.
"""
# Triton compiles these bodies: its language has no Python types, and functions of pointers are long.
# mypy: ignore-errors
# ruff: noqa: PLR0912, PLR0917, PLR1714

from typing import NamedTuple

import triton
import triton.language as tl


class Sizes(NamedTuple):
    """Heads ``H``, key heads ``K``, rows ``Q``, keys ``T``, widths ``D`` of q and k and ``E`` of v."""

    H: int
    K: int
    Q: int
    T: int
    D: int
    E: int


class Terms(NamedTuple):
    """What turns a distance into a logit; a pointer that is not needed is None.

    ``strength``, and ``p``, hold one number for each head.
    ``mask`` is read with its four ``strides``, uint8 if it is boolean; ``shift`` is the position of row 0.
    """

    strength: tl.tensor
    p: tl.tensor
    mask: tl.tensor
    strides: tuple
    key_mask: tl.tensor
    alibi: tl.tensor
    shift: int
    window: int


class Dropout(NamedTuple):
    """The seed (an int64 in memory, or None), the threshold of the 24-bit draw, and 1 / (1 - dropout_p)."""

    seed: tl.tensor
    threshold: int
    gain: float


@triton.jit
def forward(
    q, k, v, out, lse, entropy, top, mean, highest, sizes, terms, dropout,
    KIND: tl.constexpr, CAUSAL: tl.constexpr, M: tl.constexpr, N: tl.constexpr, WIDTH: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """One block of rows of one head: output, logsumexp, entropy, largest weight, mean distance and highest logit."""
    block, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    group = _group(head, sizes)
    rows, values = block * M + tl.arange(0, M), tl.arange(0, WIDTH)
    q += head * sizes.D * sizes.Q
    k += group * sizes.D * sizes.T
    v += group * sizes.T * sizes.E
    most = tl.full([M], float("-inf"), REAL)
    total, moment, reach = tl.zeros([M], REAL), tl.zeros([M], REAL), tl.zeros([M], REAL)
    gathered = tl.zeros([M, WIDTH], REAL)
    first, last = _seen_keys(block * M, block * M + M, sizes, terms, CAUSAL, N)
    for start in range(first, last, N):
        keys = start + tl.arange(0, N)
        distance, _ = _distances(q, k, rows, keys, head, sizes, terms, KIND, M, N, WIDTH, REAL)
        logits = _logits(distance, rows, keys, head, sizes, terms, CAUSAL, REAL)
        above = tl.maximum(most, tl.max(logits, 1))
        base = tl.where(above == float("-inf"), 0.0, above)
        fade = tl.exp(most - base)
        weights = tl.exp(logits - base[:, None])
        total = total * fade + tl.sum(weights, 1)
        moment = moment * fade + tl.sum(weights * tl.where(weights > 0, logits, 0.0), 1)
        reach = reach * fade + tl.sum(weights * tl.where(weights > 0, distance, 0.0), 1)
        tile = _tile(v, keys, sizes.T, values, sizes.E, REAL)
        kept = _kept(weights, rows, keys, head, dropout)
        gathered = gathered * fade[:, None] + tl.dot(kept, tile, input_precision="tf32x3")
        most = above
    empty = total == 0
    total = tl.where(empty, 1.0, total)
    row_lse = most + tl.log(total)
    inside, at = rows < sizes.Q, head * sizes.Q + rows
    target = out + head * sizes.Q * sizes.E + rows[:, None] * sizes.E + values[None, :]
    tl.store(target, gathered / total[:, None], mask=inside[:, None] & (values < sizes.E)[None, :])
    tl.store(lse + at, row_lse, mask=inside)
    tl.store(entropy + at, tl.where(empty, 0.0, row_lse - moment / total), mask=inside)
    tl.store(top + at, tl.where(empty, 0.0, 1.0 / total), mask=inside)
    tl.store(mean + at, reach / total, mask=inside)
    tl.store(highest + at, most, mask=inside)


@triton.jit
def backward_queries(
    q, k, v, top, mean, highest, delta, grad_out, grad_q, grad_strength, grad_p, sizes, terms, dropout,
    KIND: tl.constexpr, CAUSAL: tl.constexpr, M: tl.constexpr, N: tl.constexpr, WIDTH: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """One block of rows of one head: their gradient, and the block's share of those of the strength and of p."""
    block, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    group = _group(head, sizes)
    rows = block * M + tl.arange(0, M)
    q += head * sizes.D * sizes.Q
    grad_q += head * sizes.D * sizes.Q
    grad_out += head * sizes.Q * sizes.E
    k += group * sizes.D * sizes.T
    v += group * sizes.T * sizes.E
    strength = _strength(head, sizes, terms, REAL)
    of_strength, of_p = tl.zeros([M], REAL), tl.zeros([M], REAL)
    first, last = _seen_keys(block * M, block * M + M, sizes, terms, CAUSAL, N)
    for start in range(first, last, N):
        keys = start + tl.arange(0, N)
        distance, chosen, slope, _ = _slopes(
            q, k, v, top, highest, delta, grad_out, rows, keys, head, sizes, terms, dropout,
            KIND, CAUSAL, M, N, WIDTH, REAL,
        )  # fmt: skip
        if grad_strength is not None:
            average = tl.load(mean + head * sizes.Q + rows, mask=rows < sizes.Q, other=0)[:, None]
            of_strength += tl.sum(tl.where(slope == 0, 0.0, slope * (distance - average)), 1)
        slope *= strength
        if KIND == "dot":
            dims = tl.arange(0, WIDTH)
            tile = _turned_tile(k, keys, sizes.T, dims, sizes.D, REAL)
            _add_turned(grad_q, -tl.dot(slope, tile, input_precision="tf32x3"), rows, sizes.Q, dims, sizes.D)
        else:
            if grad_p is not None:
                share = _slope_of_p(q, k, distance, rows, keys, head, sizes, terms, M, N, REAL)
                of_p += tl.sum(slope * share, 1)
            _spread(q, k, grad_q, distance, chosen, slope, rows, keys, head, sizes, terms, KIND, True, REAL)
    if grad_strength is not None:
        tl.store(grad_strength + head * tl.num_programs(0) + block, tl.sum(of_strength, 0))
    if grad_p is not None:
        tl.store(grad_p + head * tl.num_programs(0) + block, tl.sum(of_p, 0))


@triton.jit
def backward_keys(
    q, k, v, top, mean, highest, delta, grad_out, grad_k, grad_v, sizes, terms, dropout,
    KIND: tl.constexpr, CAUSAL: tl.constexpr, M: tl.constexpr, N: tl.constexpr, WIDTH: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """One block of keys of one key head: gradients of keys and values, summed over the query heads of its group."""
    block, group = tl.program_id(0), tl.program_id(1).to(tl.int64)
    keys, values = block * N + tl.arange(0, N), tl.arange(0, WIDTH)
    k += group * sizes.D * sizes.T
    v += group * sizes.T * sizes.E
    grad_k += group * sizes.D * sizes.T
    of_values = tl.zeros([N, WIDTH], REAL)
    first, last = _seeing_rows(block * N, block * N + N, sizes, terms, CAUSAL, M)
    heads = sizes.H // sizes.K
    for member in range(heads):
        head = group * heads + member  # for b·K + h // heads this is b·H + h: H = K · heads
        query = q + head * sizes.D * sizes.Q
        grad = grad_out + head * sizes.Q * sizes.E
        for start in range(first, last, M):
            rows = start + tl.arange(0, M)
            distance, chosen, slope, kept = _slopes(
                query, k, v, top, highest, delta, grad, rows, keys, head, sizes, terms, dropout,
                KIND, CAUSAL, M, N, WIDTH, REAL,
            )  # fmt: skip
            tile = _tile(grad, rows, sizes.Q, values, sizes.E, REAL)
            of_values += tl.dot(tl.trans(kept), tile, input_precision="tf32x3")
            slope *= _strength(head, sizes, terms, REAL)
            if KIND == "dot":
                tile = _turned_tile(query, rows, sizes.Q, values, sizes.D, REAL)
                change = -tl.dot(tl.trans(slope), tile, input_precision="tf32x3")
                _add_turned(grad_k, change, keys, sizes.T, values, sizes.D)
            else:
                _spread(query, k, grad_k, distance, chosen, slope, rows, keys, head, sizes, terms, KIND, False, REAL)
    target = grad_v + group * sizes.T * sizes.E + keys[:, None] * sizes.E + values[None, :]
    tl.store(target, of_values, mask=_both(keys, sizes.T, values, sizes.E))


@triton.jit
def _group(head, sizes):
    """The key head that a query head ``b·H + h`` reads, as ``b·K + k``."""
    return head // (sizes.H // sizes.K)


@triton.jit
def _strength(head, sizes, terms, REAL: tl.constexpr):
    """What distances of a head are multiplied by."""
    return tl.load(terms.strength + head % sizes.H).to(REAL)


@triton.jit
def _seen_keys(top_row, end_row, sizes, terms, CAUSAL: tl.constexpr, N: tl.constexpr):
    """The stretch of keys that a block of rows may see; it begins at a multiple of ``N``."""
    first, last = 0, sizes.T
    if terms.window is not None:
        first = tl.maximum(top_row + terms.shift - terms.window + 1, 0) // N * N
        if not CAUSAL:
            last = tl.minimum(last, end_row + terms.shift - 1 + terms.window)
    if CAUSAL:
        last = tl.minimum(last, end_row + terms.shift)
    return first, last


@triton.jit
def _seeing_rows(top_key, end_key, sizes, terms, CAUSAL: tl.constexpr, M: tl.constexpr):
    """The stretch of rows that may see a block of keys; it begins at a multiple of ``M``."""
    first, last = 0, sizes.Q
    if CAUSAL:
        first = tl.maximum(top_key - terms.shift, 0) // M * M
    if terms.window is not None:
        last = tl.minimum(last, end_key - 1 - terms.shift + terms.window)
        if not CAUSAL:
            first = tl.maximum(top_key - terms.shift - terms.window + 1, 0) // M * M
    return first, last


@triton.jit
def _both(across, across_end, along, along_end):
    return (across < across_end)[:, None] & (along < along_end)[None, :]


@triton.jit
def _tile(base, places, n_places, values, width, REAL: tl.constexpr):
    """A block of a matrix ``[n_places, width]``, zero outside."""
    at = base + places[:, None] * width + values[None, :]
    return tl.load(at, mask=_both(places, n_places, values, width), other=0).to(REAL)


@triton.jit
def _turned_tile(base, places, n_places, dims, width, REAL: tl.constexpr):
    """The block ``[places, dims]`` of a matrix that is stored as ``[width, n_places]``, zero outside."""
    at = base + dims[None, :] * n_places + places[:, None]
    return tl.load(at, mask=_both(places, n_places, dims, width), other=0).to(REAL)


@triton.jit
def _add_turned(target, change, places, n_places, dims, width):
    """Add a block ``[places, dims]`` to a matrix that is stored as ``[width, n_places]``."""
    at = target + dims[None, :] * n_places + places[:, None]
    tl.atomic_add(at, change, mask=_both(places, n_places, dims, width), sem="relaxed")


@triton.jit
def _delta(q, k, d, rows, keys, sizes, REAL: tl.constexpr):
    """Differences ``q_d - k_d`` of a block of rows and a block of keys, ``[M, N]``."""
    query = tl.load(q + d * sizes.Q + rows, mask=rows < sizes.Q, other=0).to(REAL)
    key = tl.load(k + d * sizes.T + keys, mask=keys < sizes.T, other=0).to(REAL)
    return query[:, None] - key[None, :]


@triton.jit
def _power(base, exponent):
    """``base ** exponent`` for base >= 0; zero at zero, whatever the exponent."""
    return tl.where(base > 0, tl.exp2(exponent * tl.log2(tl.where(base > 0, base, 1.0))), 0.0)


@triton.jit
def _distances(
    q, k, rows, keys, head, sizes, terms,
    KIND: tl.constexpr, M: tl.constexpr, N: tl.constexpr, WIDTH: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Distances ``[M, N]`` (minus the product for "dot") and what their slope needs besides.

    That is the dimension of the maximum (the first of several) for "chebyshev" and "linf2", and the largest
    difference for "lp", which is taken out of the sum before powers are formed: ``m (Σ (|δ|/m)^p)^(1/p)``.
    """
    distance = tl.zeros([M, N], REAL)
    chosen = tl.zeros([M, N], tl.int32)
    if KIND == "dot":
        dims = tl.arange(0, WIDTH)
        queries = _turned_tile(q, rows, sizes.Q, dims, sizes.D, REAL)
        columns = _turned_tile(k, keys, sizes.T, dims, sizes.D, REAL)
        distance = -tl.dot(queries, tl.trans(columns), input_precision="tf32x3")
    elif KIND == "l21" or KIND == "linf2":
        for d in range(sizes.D // 2):
            near = _delta(q, k, d, rows, keys, sizes, REAL)
            far = _delta(q, k, d + sizes.D // 2, rows, keys, sizes, REAL)
            norm = tl.sqrt(near * near + far * far)
            if KIND == "l21":
                distance += norm
            else:
                chosen = tl.where(norm > distance, d, chosen)
                distance = tl.maximum(distance, norm, propagate_nan=tl.PropagateNan.ALL)
    else:
        for d in range(sizes.D):
            size = tl.abs(_delta(q, k, d, rows, keys, sizes, REAL))
            if KIND == "l1":
                distance += size
            elif KIND == "l2" or KIND == "sqeuclidean":
                distance += size * size
            else:
                chosen = tl.where(size > distance, d, chosen)
                distance = tl.maximum(distance, size, propagate_nan=tl.PropagateNan.ALL)
        if KIND == "l2":
            distance = tl.sqrt(distance)
        if KIND == "lp":
            power = tl.load(terms.p + head % sizes.H).to(REAL)
            largest = tl.where(distance > 0, distance, 1.0)
            total = tl.zeros([M, N], REAL)
            for d in range(sizes.D):
                total += _power(tl.abs(_delta(q, k, d, rows, keys, sizes, REAL)) / largest, power)
            distance = distance * _power(total, 1.0 / power)
    return distance, chosen


@triton.jit
def _logits(distance, rows, keys, head, sizes, terms, CAUSAL: tl.constexpr, REAL: tl.constexpr):
    """``bias - strength · distance``, and -inf for what a row may not see."""
    logits, visible = -distance * _strength(head, sizes, terms, REAL), _both(rows, sizes.Q, keys, sizes.T)
    apart = (rows + terms.shift)[:, None] - keys[None, :]
    if CAUSAL:
        visible &= apart >= 0
    if terms.window is not None:
        visible &= tl.abs(apart) < terms.window
    if terms.alibi is not None:
        logits -= tl.load(terms.alibi + head % sizes.H).to(REAL) * tl.abs(apart).to(REAL)
    if terms.key_mask is not None:
        real = tl.load(terms.key_mask + head // sizes.H * sizes.T + keys, mask=keys < sizes.T, other=0)
        visible &= (real != 0)[None, :]
    if terms.mask is not None:
        at = terms.mask + head // sizes.H * terms.strides[0] + head % sizes.H * terms.strides[1]
        at += rows[:, None].to(tl.int64) * terms.strides[2] + keys[None, :] * terms.strides[3]
        given = tl.load(at, mask=_both(rows, sizes.Q, keys, sizes.T), other=0)
        if given.dtype == tl.uint8:
            visible &= given != 0
        else:
            logits += given.to(REAL)
    return tl.where(visible, logits, float("-inf"))


@triton.jit
def _kept(weights, rows, keys, head, dropout):
    """Weights after dropout: the draw is a hash (splitmix64) of seed, head, row and key, see `dropout`."""
    if dropout.seed is not None:
        place = (head.to(tl.uint64) << 40) ^ (rows.to(tl.uint64)[:, None] << 20) ^ keys.to(tl.uint64)[None, :]
        z = tl.load(dropout.seed).to(tl.uint64) + (place + 1) * 0x9E3779B97F4A7C15
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB
        draw = ((z ^ (z >> 31)) >> 40).to(tl.int32)
        weights = tl.where(draw >= dropout.threshold, weights * dropout.gain, 0.0)
    return weights


@triton.jit
def _slopes(
    q, k, v, top, highest, delta, grad_out, rows, keys, head, sizes, terms, dropout,
    KIND: tl.constexpr, CAUSAL: tl.constexpr, M: tl.constexpr, N: tl.constexpr, WIDTH: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Distances again, what their slope needs, ``-d loss / d logit`` and the weights after dropout."""
    values = tl.arange(0, WIDTH)
    distance, chosen = _distances(q, k, rows, keys, head, sizes, terms, KIND, M, N, WIDTH, REAL)
    logits = _logits(distance, rows, keys, head, sizes, terms, CAUSAL, REAL)
    most = tl.load(highest + head * sizes.Q + rows, mask=rows < sizes.Q, other=0)
    largest = tl.load(top + head * sizes.Q + rows, mask=rows < sizes.Q, other=0)
    weights = tl.exp(logits - tl.where(most == float("-inf"), 0.0, most)[:, None]) * largest[:, None]
    grad = _tile(grad_out, rows, sizes.Q, values, sizes.E, REAL)
    of_weights = tl.dot(grad, tl.trans(_tile(v, keys, sizes.T, values, sizes.E, REAL)), input_precision="tf32x3")
    kept = _kept(weights, rows, keys, head, dropout)
    share = tl.load(delta + head * sizes.Q + rows, mask=rows < sizes.Q, other=0)
    return distance, chosen, weights * share[:, None] - kept * of_weights, kept


@triton.jit
def _spread(
    q, k, target, distance, chosen, slope, rows, keys, head, sizes, terms,
    KIND: tl.constexpr, OF_ROWS: tl.constexpr, REAL: tl.constexpr,
):  # fmt: skip
    """Add a tile's gradient, one dimension at a time, to that of its rows, or of its keys with the other sign.

    The block's own program is the only one that adds there; atomics only keep its additions in order.
    """
    if KIND == "l21" or KIND == "linf2":
        for d in range(sizes.D // 2):
            near = _delta(q, k, d, rows, keys, sizes, REAL)
            far = _delta(q, k, d + sizes.D // 2, rows, keys, sizes, REAL)
            norm = tl.sqrt(near * near + far * far)
            factor = tl.where(norm > 0, slope / tl.where(norm > 0, norm, 1.0), 0.0)
            if KIND == "linf2":
                factor = tl.where(chosen == d, factor, 0.0)
            _add(target, d, factor * near, rows, keys, sizes, OF_ROWS)
            _add(target, d + sizes.D // 2, factor * far, rows, keys, sizes, OF_ROWS)
    else:
        positive = tl.where(distance > 0, distance, 1.0)
        for d in range(sizes.D):
            delta = _delta(q, k, d, rows, keys, sizes, REAL)
            sign = tl.where(delta > 0, 1.0, tl.where(delta < 0, -1.0, 0.0)).to(REAL)
            if KIND == "l1":
                change = slope * sign
            elif KIND == "sqeuclidean":
                change = slope * 2.0 * delta
            elif KIND == "l2":
                change = slope * (delta / positive)
            elif KIND == "lp":
                power = tl.load(terms.p + head % sizes.H).to(REAL)
                change = slope * sign * _power(tl.abs(delta) / positive, power - 1.0)
            else:
                change = tl.where(chosen == d, slope * sign, 0.0)
            _add(target, d, change, rows, keys, sizes, OF_ROWS)


@triton.jit
def _add(target, d, change, rows, keys, sizes, OF_ROWS: tl.constexpr):
    if OF_ROWS:
        tl.atomic_add(target + d * sizes.Q + rows, tl.sum(change, 1), mask=rows < sizes.Q, sem="relaxed")
    else:
        tl.atomic_add(target + d * sizes.T + keys, -tl.sum(change, 0), mask=keys < sizes.T, sem="relaxed")


@triton.jit
def _slope_of_p(q, k, distance, rows, keys, head, sizes, terms, M: tl.constexpr, N: tl.constexpr, REAL: tl.constexpr):
    """Of the power mean, ``(dist / p) (Σ r^p ln r + ln D / p)``, with ``r = |δ| / dist``: Σ r^p = 1."""
    power = tl.load(terms.p + head % sizes.H).to(REAL)
    positive = tl.where(distance > 0, distance, 1.0)
    total = tl.zeros([M, N], REAL) + tl.log(sizes.D.to(REAL)) / power
    for d in range(sizes.D):
        ratio = tl.abs(_delta(q, k, d, rows, keys, sizes, REAL)) / positive
        total += tl.where(ratio > 0, _power(ratio, power) * tl.log(tl.where(ratio > 0, ratio, 1.0)), 0.0)
    return distance / power * total
