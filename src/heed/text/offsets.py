"""True offsets where a byte-level tokenizer lacks some bytes.

Such a tokenizer (the embedded model's is one) drops a character it has no byte for without a word,
and the offsets it reports for the rest of that word are then too small. Here the text is also cut
into single bytes, with a stand-in for each lacking one, and the true tokens are laid along them.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from heed.errors import SpanNotFoundError


def _symbols() -> list[str]:
    """The character that byte-level tokenizers write for each byte."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


@dataclass(frozen=True, slots=True, eq=False)
class Realigner:
    """The same tokenizer without merges and with all bytes, whose tokens are the bytes in order."""

    bare: Any
    lacking: re.Pattern[bytes]
    stand_ins: tuple[int, ...]
    added: frozenset[int]

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self | None:
        """For a tokenizer's description; None where it lacks no byte or is not byte-level."""
        from tokenizers import Tokenizer

        model, symbols = spec["model"], _symbols()
        cutting = json.dumps([spec["pre_tokenizer"], spec["normalizer"]])
        if model["type"] != "BPE" or '"ByteLevel"' not in cutting or model["unk_token"] is not None:
            return None
        lacking = [byte for byte, symbol in enumerate(symbols) if symbol not in model["vocab"]]
        if not lacking:
            return None
        vocab = {symbol: byte for byte, symbol in enumerate(symbols)}
        bare = Tokenizer.from_str(json.dumps({**spec, "model": {**model, "vocab": vocab, "merges": []}}))
        pattern = re.compile(b"[" + re.escape(bytes(lacking)) + b"]")
        return cls(bare, pattern, tuple(lacking), frozenset(token["id"] for token in spec["added_tokens"]))

    def offsets(self, text: str, encoding: Any) -> np.ndarray:
        """Character offsets ``[T, 2]`` of the tokens of ``encoding``.

        Raises
        ------
        SpanNotFoundError
            If the tokens are not the text's bytes without the lacking ones.
        """
        offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        if not self.lacking.search(text.encode("utf-8")):
            return offsets
        cut = self.bare.encode(text, add_special_tokens=False)
        kept = np.asarray(cut.offsets, dtype=np.int64)[~np.isin(cut.ids, self.stand_ins)]
        sizes = np.array(
            [
                0 if special else 1 if index in self.added else len(token)
                for index, token, special in zip(
                    encoding.ids, encoding.tokens, encoding.special_tokens_mask, strict=True
                )
            ]
        )
        ends = np.cumsum(sizes)
        if len(ends) and ends[-1] != len(kept):
            raise SpanNotFoundError(
                f"expected tokens for {len(kept)} bytes, found them for {ends[-1]}; this tokenizer drops characters"
                " in a way heed cannot follow, so remove control characters from the text"
            )
        there = sizes > 0
        offsets[there, 0] = kept[(ends - sizes)[there], 0]
        offsets[there, 1] = kept[ends[there] - 1, 1]
        return offsets
