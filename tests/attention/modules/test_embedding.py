"""Word vectors: read exactly or refused, kept on disk where that is possible, aligned with a vocabulary."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from heed.attention import TokenEmbedding, WordVectors, align, map_matrix, read_vectors, read_words
from heed.errors import InputError, RecordError

word = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=8).filter(
    lambda w: not w.endswith(" ")
)
number = st.floats(-1e6, 1e6, width=32)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[float]]]:
    words = draw(st.lists(word, min_size=1, max_size=5, unique=True))
    width = draw(st.integers(1, 4))
    return words, [draw(st.lists(number, min_size=width, max_size=width)) for _ in words]


def text(words: list[str], rows: list[list[float]], *, header: bool, end: str = "\n") -> bytes:
    lines = [f"{len(words)} {len(rows[0])}"] if header else []
    lines += [" ".join([word, *map(repr, row)]) for word, row in zip(words, rows, strict=True)]
    return "".join(line + end for line in lines).encode()


def read(content: bytes, **options: object) -> WordVectors:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.txt"
        path.write_bytes(content)
        return read_vectors(path, **options)  # type: ignore[arg-type]


@given(tables(), st.sampled_from(["\n", "\r\n", " \n"]))
def test_text_comes_back_as_it_was_written(table: tuple[list[str], list[list[float]]], end: str) -> None:
    words, rows = table
    vectors = read(text(words, rows, header=True, end=end))
    assert list(vectors.words) == words
    assert np.array_equal(vectors.matrix, np.array(rows, np.float32))
    one = read(text(words, rows, header=True, end=end), wanted={words[-1]})
    assert one.words == (words[-1],)
    assert np.array_equal(one.matrix[0], vectors.matrix[-1])


@given(tables(), st.data())
def test_a_cut_file_is_never_read_as_if_it_were_whole(
    table: tuple[list[str], list[list[float]]], data: st.DataObject
) -> None:
    whole = text(*table, header=True)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(RecordError):
        read(cut)


@given(tables(), st.data())
def test_a_line_of_another_width_is_refused_with_its_number(
    table: tuple[list[str], list[list[float]]], data: st.DataObject
) -> None:
    words, rows = table
    words, rows = [f"w{i}" for i in range(len(words))], [*rows]
    at = data.draw(st.integers(0, len(rows) - 1))
    rows[at] = rows[at][:-1]
    whole = f"{len(rows)} {len(table[1][0])}\n".encode() + text(words, rows, header=False)
    with pytest.raises(RecordError, match=f"line {at + 2}"):
        read(whole)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        vectors = read(content)
    except RecordError:
        return
    assert bool(np.isfinite(vectors.matrix).all())
    assert len(vectors.words) == len(set(vectors.words))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"2 3\na 1 2 3\n", "announces 2 vectors, there are 1"),
        (b"1 3\na 1 2 3\nb 1 2 3\n", "announces 1 vectors, there are 2"),
        (b"0 3\n", "expected a word and its numbers"),
        (b"1 0\na\n", "line 1"),
        (b"alone\n", "line 1"),
        (b"1 2\na 1 x\n", "line 2: expected 2 numbers"),
        (b"1 2\na 1 nan\n", "line 2: expected finite numbers"),
        (b"1 2\na 1 1e99\n", "finite numbers"),
        (b"1 2\n 1 2\n", "line 2: expected a word"),
        (b"1 2\n\xff 1 2\n", "line 2: not UTF-8"),
        (b"a 1 2\nb 1 2", "line 2: ends without a line end"),
        (b"a 1 2\nb 1\n", "line 2: expected a word and 2 numbers"),
    ],
)
def test_text_that_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        read(content)


def test_glove_without_a_first_line_words_with_spaces_and_words_twice() -> None:
    vectors = read(b". 1 2\n. . 3 4\n. 5 6\nnew york 7 8\n")
    assert vectors.words == (".", ". .", "new york")
    assert vectors.matrix.tolist() == [[1, 2], [3, 4], [7, 8]]


@pytest.fixture
def matrix() -> torch.Tensor:
    return torch.arange(12, dtype=torch.float32).view(4, 3)


def test_an_npy_file_stays_on_disk(tmp_path: Path, matrix: torch.Tensor) -> None:
    path = tmp_path / "m.npy"
    np.save(path, matrix.numpy())
    mapped = map_matrix(path)
    assert torch.equal(mapped, matrix)
    embedding = TokenEmbedding.mapped(mapped)
    assert embedding.weight.data_ptr() == mapped.data_ptr()
    assert torch.equal(embedding(torch.tensor([2, 0])), matrix[[2, 0]])
    assert not embedding.weight.requires_grad
    mapped[0, 0] = 99
    assert float(np.load(path)[0, 0]) == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_a_mapped_matrix_takes_no_memory_before_it_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "big.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (200_000, 256)).flush()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    embedding = TokenEmbedding.mapped(map_matrix(path))
    embedding(torch.tensor([199_999]))
    assert resident() - before < 20 << 20  # the matrix has 195 MiB


def test_safetensors_by_name(tmp_path: Path, matrix: torch.Tensor) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": matrix, "b": matrix.bfloat16() + 1}, path)
    assert torch.equal(map_matrix(path, "a"), matrix)
    assert read_vectors(path, words="wxyz", name="b").matrix.dtype == np.float32
    with pytest.raises(InputError, match="holds a, b; name one"):
        map_matrix(path)
    with pytest.raises(InputError, match="found 'c'"):
        map_matrix(path, "c")


def _npy(path: Path, value: np.ndarray) -> None:
    np.save(path, value, allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "write", "error", "message"),
    [
        ("m.npy", lambda p: p.write_bytes(b"\x93NUMPY"), RecordError, "cannot be read as npy"),
        ("m.npy", lambda p: p.write_bytes(b""), RecordError, "cannot be read as npy"),
        ("m.npy", lambda p: _npy(p, np.zeros(3, np.float32)), RecordError, "floating point matrix"),
        ("m.npy", lambda p: _npy(p, np.zeros((3, 3), np.int64)), RecordError, "floating point matrix"),
        ("m.npy", lambda p: _npy(p, np.array([["a"]])), RecordError, "cannot be read as npy"),
        ("m.npy", lambda p: _npy(p, np.array([[object()]])), RecordError, "cannot be read as npy"),
        ("m.safetensors", lambda p: p.write_bytes(b"\x08"), RecordError, "cannot be read as safetensors"),
        ("m.bin", lambda p: p.write_bytes(b"x"), InputError, "expected a .npy or .safetensors"),
        ("m.npy", lambda p: None, InputError, "found nothing"),
    ],
)
def test_matrices_that_are_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(error, match=message):
        map_matrix(tmp_path / name)


def test_a_cut_npy_or_safetensors_file_is_refused(tmp_path: Path, matrix: torch.Tensor) -> None:
    for path in (tmp_path / "m.npy", tmp_path / "m.safetensors"):
        if path.suffix == ".npy":
            np.save(path, matrix.numpy())
        else:
            save_file({"a": matrix}, path)
        whole = path.read_bytes()
        for length in (0, 5, 40, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(RecordError, match="cannot be read as"):
                map_matrix(path)


def test_words_from_a_list_of_lines_or_json(tmp_path: Path, matrix: torch.Tensor) -> None:
    lines, listed, path = tmp_path / "words.txt", tmp_path / "words.json", tmp_path / "m.npy"
    lines.write_text("a\nb c\nd\ne\n")
    listed.write_text(json.dumps(["a", "b c", "d", "e"]))
    np.save(path, matrix.numpy())
    assert read_words(lines) == read_words(listed) == ("a", "b c", "d", "e")
    assert read_vectors(path, words=read_words(lines)).matrix.tolist() == matrix.tolist()
    with pytest.raises(InputError, match="holds numbers alone"):
        read_vectors(path)
    with pytest.raises(InputError, match="as many rows"):
        read_vectors(path, words="abc")
    for wrong in ("{", '{"a": 1}', "[1]"):
        listed.write_text(wrong)
        with pytest.raises(RecordError, match="JSON list of words"):
            read_words(listed)


VECTORS = WordVectors(("a", "b", "the", "unused"), np.array([[1, 1], [3, 5], [5, 3], [9, 9]], np.float32))


def test_alignment_reports_what_was_missing() -> None:
    aligned, report = align(VECTORS, {"b": 1, "a": 0, "zzz": 3, "The": 2}, oov="zero", lowercase=True)
    assert aligned.tolist() == [[1, 1], [3, 5], [5, 3], [0, 0]]
    assert (report.found, report.lowercased, report.missing, report.unused) == (3, 1, ("zzz",), 1)
    assert report.coverage == 0.75
    assert str(report) == (
        "3 of 4 tokens have a vector (75.0%), 1 of them in lower case; 1 vectors are not used; without: 'zzz'"
    )


def test_what_tokens_without_a_vector_get() -> None:
    vocabulary = ["a", "b", *(f"missing {i}" for i in range(400))]
    assert align(VECTORS, vocabulary, oov="mean")[0][2:].unique(dim=0).tolist() == [[2, 3]]
    drawn, _ = align(VECTORS, vocabulary, seed=1)
    assert torch.equal(drawn, align(VECTORS, vocabulary, seed=1)[0])
    assert not torch.equal(drawn, align(VECTORS, vocabulary, seed=2)[0])
    torch.testing.assert_close(drawn[2:].mean(0), torch.tensor([2.0, 3.0]), rtol=0, atol=0.3)
    torch.testing.assert_close(drawn[2:].std(0), torch.tensor([1.0, 2.0]), rtol=0.15, atol=0)
    with pytest.raises(InputError, match="2 of 402 tokens"):
        align(VECTORS, vocabulary, oov="error")
    with pytest.raises(InputError, match="normal, mean, zero or error"):
        align(VECTORS, vocabulary, oov="random")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no vector found"):
        align(VECTORS, ["x", "y"])
    assert align(VECTORS, ["a", "b"], oov="error")[1].missing == ()


def test_a_vocabulary_with_holes_is_refused() -> None:
    with pytest.raises(InputError, match=r"ids 0 … 1, each once"):
        align(VECTORS, {"a": 0, "b": 2})


@pytest.mark.parametrize("scaled", [True, False])
def test_an_embedding_starts_from_word_vectors_and_learns(scaled: bool) -> None:
    embedding = TokenEmbedding(3, 2, padding_idx=2, scaled=scaled)
    report = embedding.start_from(VECTORS, ["a", "b", "<pad>"])
    assert report.missing == ("<pad>",)
    torch.testing.assert_close(embedding(torch.arange(3)).detach(), torch.tensor([[1.0, 1], [3, 5], [0, 0]]))
    embedding(torch.arange(3)).sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[2].tolist() == [0, 0]
    with pytest.raises(InputError, match=r"the table is \(3, 2\)"):
        embedding.start_from(VECTORS, ["a", "b"])


def test_what_a_lookup_refuses() -> None:
    embedding = TokenEmbedding(5, 4)
    assert embedding(torch.empty(0, dtype=torch.int64)).shape == (0, 4)
    for ids in (torch.tensor([5]), torch.tensor([-1])):
        with pytest.raises(InputError, match=r"lie in \[0, 5\)"):
            embedding(ids)
    with pytest.raises(InputError, match="int64 or int32"):
        embedding(torch.tensor([1.0]))
    with pytest.raises(InputError, match="vocab_size"):
        TokenEmbedding(0, 4)
