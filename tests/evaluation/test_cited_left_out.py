"""What is read to learn from is read once: the file it is kept in gives the same readings, and no other file does."""

import numpy as np
import pytest

import heed
from heed.citation.data import LabelledQuestion, row_of
from heed.errors import InputError
from heed.evaluation import cited_left_out
from heed.evaluation.cited_left_out import hear_sets
from tiny import keen_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> heed.Model:
    return keen_model(tmp_path_factory.mktemp("model") / "keen")


def row(name: str, group: str, response: str | None) -> LabelledQuestion:
    units = ["Rain fell.", "Sun shone.", "Wind blew."]
    question = row_of({"question": f"What of {name}?", "units": units, "response": response}, "here").question
    return LabelledQuestion(name, group, question, " ", frozenset((1,)), (frozenset((1,)),))


def test_what_was_kept_is_not_read_again(model, tmp_path, monkeypatch):
    rows = [row("a", "one", None), row("b", "two", "Sun.")]
    keep = tmp_path / "reads.npz"
    first = hear_sets(model, rows, keep=keep)
    asked, read_row = [], cited_left_out.read_row

    def counted(*args, kind):
        asked.append(kind)
        return read_row(*args, kind=kind)

    monkeypatch.setattr(cited_left_out, "read_row", counted)
    again = hear_sets(model, [*rows, row("a", "two", None)], keep=keep)
    assert asked == ["question"]  # of the third row alone: its name was known in another set
    for kind, count in (("question", 2), ("response", 1)):
        for old, new in zip(first.reads[kind], again.reads[kind][:count], strict=True):
            assert (old.group, old.id, old.gold) == (new.group, new.id, new.gold)
            np.testing.assert_array_equal(old.contrasts, new.contrasts)
    assert [len(again.reads[kind]) for kind in ("question", "response")] == [3, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["reads.npz"]


def test_a_file_of_another_kind_or_model_is_refused(model, tmp_path):
    keep = tmp_path / "reads.npz"
    keep.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="expected what `hear_sets` kept"):
        hear_sets(model, [row("a", "one", None)], keep=keep)
    assert keep.read_bytes() == b"PK\x03\x04 no archive"
    np.savez(keep, model="other", lines="[]")
    with pytest.raises(InputError, match="found other: name another file"):
        hear_sets(model, [row("a", "one", None)], keep=keep)
