"""Dropout that is a function of (seed, head, row, key): every path drops the same weights, whatever its tiles.

Counter-based, as in FlashAttention, so that the backward pass draws nothing and stores nothing. The generator is the
finaliser of splitmix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195) on 64-bit counters.
"""

from jaxtyping import Bool, Int
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def kept(
    seed: int | Tensor,
    dropout_p: float,
    heads: Int[Tensor, "#B #H 1 1"],
    rows: Int[Tensor, "q 1"],
    keys: Int[Tensor, " t"],
) -> Bool[Tensor, "#B #H q t"]:
    """Which weights stay: ``heads`` is b·H + h, ``rows`` and ``keys`` count from 0, each below 2^20.

    ``z = seed + golden · (1 + (head << 40 ^ row << 20 ^ key))``, mixed twice by a shift and a product, shifted once
    more, all modulo 2^64; a weight stays where the top 24 of the low 64 bits reach ``round(dropout_p · 2^24)``.
    """
    counter = (heads << 40) ^ (rows << 20) ^ keys
    z = seed + _signed(_GOLDEN) * (1 + counter)
    z = (z ^ _shifted(z, 30)) * _signed(_FIRST)
    z = (z ^ _shifted(z, 27)) * _signed(_SECOND)
    z = z ^ _shifted(z, 31)
    return _shifted(z, 40) >= round(dropout_p * (1 << 24))


def _signed(constant: int) -> int:
    """The int64 with the bits of an unsigned 64-bit constant."""
    return constant - (1 << 64) if constant >= 1 << 63 else constant


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64: torch's own keeps the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
