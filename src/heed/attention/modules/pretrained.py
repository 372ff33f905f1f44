"""Word vectors made elsewhere: read from word2vec/GloVe text, npy or safetensors, and aligned with a vocabulary.

npy and safetensors stay on disk and are paged in where they are touched. Text is read line by line, and only the
words that are wanted are kept.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heed.errors import InputError, RecordError

OOV = Literal["normal", "mean", "zero", "error"]


@dataclass(frozen=True, slots=True, eq=False)
class WordVectors:
    """One vector for each word, ``matrix[i]`` for ``words[i]``; float32 or what the file stores."""

    words: tuple[str, ...]
    matrix: Float[np.ndarray, "N d"]

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or len(self.words) != len(self.matrix):
            raise InputError(f"{len(self.words)} words need a matrix of as many rows, found {self.matrix.shape}")


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a vocabulary was matched: tokens with a vector, those without, and vectors that no token asked for."""

    found: int
    lowercased: int
    missing: tuple[str, ...]
    unused: int

    @property
    def coverage(self) -> float:
        """Share of the vocabulary that has a vector, in [0, 1]."""
        return self.found / max(1, self.found + len(self.missing))

    def __str__(self) -> str:
        some = ", ".join(map(repr, self.missing[:10])) + (", …" if len(self.missing) > 10 else "")
        without = f"; without: {some}" if self.missing else ""
        return (
            f"{self.found} of {self.found + len(self.missing)} tokens have a vector ({self.coverage:.1%}), "
            f"{self.lowercased} of them in lower case; {self.unused} vectors are not used{without}"
        )


def read_text_vectors(path: Path | str, wanted: Collection[str] | None = None) -> WordVectors:
    """Read word2vec text (first line ``count width``) or GloVe text (no such line): a word and its numbers on a line.

    A first line of just two whole numbers is taken for the former; only there can a cut at the end of a line be seen.
    Only ``wanted`` words are kept where given. The numbers are the last fields, so a word may hold spaces. Of a word
    that comes twice the first vector counts. Raises RecordError, with the line, for a cut file (fewer or more lines
    than announced, no end of line), a line of another width, what is not a finite number, and text that is not UTF-8.
    """
    keep = None if wanted is None else frozenset(wanted)
    lines = _lines(Path(path))
    first = next(lines, None)
    if first is None:
        raise RecordError(f"{path}: expected word vectors, found an empty file")
    header = _header(first[1])
    width = header[1] if header else len(first[1].split(" ")) - 1
    if width < 1 or (header and header[0] < 1):
        raise RecordError(f"{path}, line 1: expected a word and its numbers, or 'count width'; found {first[1]!r}")
    vectors: dict[str, np.ndarray] = {}
    count = 0
    for number, line in lines if header else _chained(first, lines):
        count += 1
        word, *fields = line.rstrip(" ").rsplit(" ", width)
        if len(fields) != width or not word:
            raise RecordError(f"{path}, line {number}: expected a word and {width} numbers, found {line[:80]!r}")
        vector = _numbers(fields, f"{path}, line {number}")
        if (keep is None or word in keep) and word not in vectors:
            vectors[word] = vector
    if header and count != header[0]:
        raise RecordError(f"{path}: the first line announces {header[0]} vectors, there are {count}; the file is cut")
    matrix = np.stack(list(vectors.values())) if vectors else np.empty((0, width), np.float32)
    return WordVectors(tuple(vectors), matrix)


def map_matrix(path: Path | str, name: str | None = None) -> Tensor:
    """The matrix ``[N, d]`` of an ``.npy`` or ``.safetensors`` file, left on disk; writing to it changes only memory.

    ``name`` picks a tensor where a safetensors file holds several. Raises RecordError for a file that is cut, damaged
    or holds no matrix of floating point numbers, InputError for another kind of file or a name it does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"expected a file with a matrix, found nothing at {path}")
    if path.suffix == ".npy":
        try:
            matrix = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
        except (ValueError, TypeError, EOFError, OSError) as error:
            raise RecordError(f"{path}: cannot be read as npy ({error}); write it again with numpy.save") from error
    elif path.suffix == ".safetensors":
        matrix = _from_safetensors(path, name)
    else:
        raise InputError(f"expected a .npy or .safetensors file, found {path.name}; for text use read_text_vectors")
    if matrix.dim() != 2 or not matrix.is_floating_point():
        raise RecordError(
            f"{path}: expected a floating point matrix [N, d], found {tuple(matrix.shape)} {matrix.dtype}"
        )
    return matrix


def read_words(path: Path | str) -> tuple[str, ...]:
    """The words of a matrix's rows: a JSON list, or one word on each line."""
    path = Path(path)
    if path.suffix != ".json":
        return tuple(line for _, line in _lines(path))
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: expected a JSON list of words; {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RecordError(f"{path}: expected a JSON list of words")
    return tuple(words)


def read_vectors(
    path: Path | str,
    *,
    words: Sequence[str] | None = None,
    wanted: Collection[str] | None = None,
    name: str | None = None,
) -> WordVectors:
    """Vectors from a file of any known kind; npy and safetensors need the ``words`` of their rows (`read_words`)."""
    if Path(path).suffix not in (".npy", ".safetensors"):
        return read_text_vectors(path, wanted)
    if words is None:
        raise InputError(f"{path} holds numbers alone: give the words of its rows (words=read_words(…))")
    matrix = map_matrix(path, name)
    return WordVectors(tuple(words), matrix.float().numpy() if matrix.dtype == torch.bfloat16 else matrix.numpy())


def align(
    vectors: WordVectors,
    vocabulary: Sequence[str] | Mapping[str, int],
    *,
    oov: OOV = "normal",
    lowercase: bool = False,
    seed: int = 0,
) -> tuple[Float[Tensor, "V d"], Alignment]:
    """A matrix whose row ``i`` is the vector of token ``i``, and the report of what was missing.

    ``vocabulary`` lists the tokens by id, or maps tokens to ids 0 … V-1. With ``lowercase`` a token without a vector
    takes that of its lower case. What is still missing (``oov``) is drawn from N(mean, std²) of the vectors used,
    ``"normal"`` (``seed`` fixes the draw), is their ``"mean"``, is ``"zero"``, or is an ``"error"`` (InputError).
    """
    tokens = _in_order(vocabulary)
    row = {word: index for index, word in reversed(list(enumerate(vectors.words)))}
    picked = [row.get(token, -1) for token in tokens]
    lowered = 0
    if lowercase:
        for index, token in enumerate(tokens):
            if picked[index] < 0 and token.lower() in row:
                picked[index], lowered = row[token.lower()], lowered + 1
    rows = np.array(picked, dtype=np.int64)
    has = rows >= 0
    report = Alignment(
        int(has.sum()),
        lowered,
        tuple(token for token, known in zip(tokens, has, strict=True) if not known),
        len(vectors.words) - len(set(rows[has].tolist())),
    )
    found = torch.from_numpy(np.ascontiguousarray(vectors.matrix[rows[has]], dtype=np.float32))
    matrix = torch.empty(len(tokens), vectors.matrix.shape[1])
    matrix[torch.from_numpy(has)] = found
    matrix[torch.from_numpy(~has)] = _unknown(found, len(report.missing), oov, report, seed)
    return matrix, report


def _unknown(found: Tensor, count: int, oov: OOV, report: Alignment, seed: int) -> Tensor:
    """Vectors ``[count, d]`` for tokens that have none."""
    if oov not in ("normal", "mean", "zero", "error"):
        raise InputError(f"oov must be normal, mean, zero or error; found {oov!r}")
    if count and oov == "error":
        raise InputError(f"{report}; give them vectors, or choose oov='normal', 'mean' or 'zero'")
    zero = found.new_zeros(count, found.shape[1])
    if oov in ("zero", "error") or not count:
        return zero
    if not len(found):
        raise InputError(
            f"{report}: with no vector found there is no mean to draw from; check the words, or oov='zero'"
        )
    if oov == "mean":
        return zero + found.mean(0)
    noise = torch.randn(zero.shape, generator=torch.Generator().manual_seed(seed))
    return found.mean(0) + noise * found.std(0, correction=0)


def _in_order(vocabulary: Sequence[str] | Mapping[str, int]) -> list[str]:
    if not isinstance(vocabulary, Mapping):
        return list(vocabulary)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise InputError(
            f"a vocabulary of {len(vocabulary)} tokens must map to the ids 0 … {len(vocabulary) - 1}, each once"
        )
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; every line must have one."""
    if not path.is_file():
        raise InputError(f"expected a file, found nothing at {path}")
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                raise RecordError(
                    f"{path}, line {number}: ends without a line end; the file is cut, or needs one added"
                )
            try:
                yield number, raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise RecordError(f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _chained(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _header(line: str) -> tuple[int, int] | None:
    fields = line.strip().split(" ")
    if len(fields) == 2 and all(field.isascii() and field.isdigit() for field in fields):
        return int(fields[0]), int(fields[1])
    return None


def _numbers(fields: list[str], place: str) -> Float[np.ndarray, " d"]:
    try:
        with np.errstate(over="ignore"):
            vector = np.array(fields, dtype=np.float64).astype(np.float32)
    except ValueError as error:
        raise RecordError(f"{place}: expected {len(fields)} numbers; {error}") from error
    if not np.isfinite(vector).all():
        raise RecordError(f"{place}: expected finite numbers, found {' '.join(fields)[:80]!r}")
    return vector


def _from_safetensors(path: Path, name: str | None) -> Tensor:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            chosen = names[0] if name is None and len(names) == 1 else name
            if chosen not in names:
                raise InputError(f"{path} holds {', '.join(names) or 'nothing'}; name one of them, found {name!r}")
            tensor: Tensor = file.get_tensor(chosen)
            return tensor
    except (SafetensorError, OSError) as error:
        raise RecordError(f"{path}: cannot be read as safetensors ({error})") from error
