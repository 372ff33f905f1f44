"""The worked examples run, with a budget of a second each, and learn something even so."""

import sys

import pytest
import torch
from examples.attention import images_l2, series_cosine, text_l1


def test_l1_on_text(capsys):
    found = text_l1.main(steps=12, length=32)
    assert list(found) == ["single bytes", "dot", "l1"]
    assert max(found["dot"], found["l1"]) < 8.0  # of a byte that nothing is known about
    assert capsys.readouterr().out.startswith("held-out bits per byte after 12 steps")


def test_no_held_out_topic_is_trained_on():
    train, held_out = (bytes(part.tolist()).decode() for part in text_l1.corpus())
    assert len(train) > 5 * len(held_out) > 100_000
    assert held_out[:2000] not in train


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_l2_on_images(capsys):
    pytest.importorskip("sklearn", reason="scikit-learn brings the digits: pip install 'heed[fit]'")
    found = images_l2.main(epochs=5, count=900)
    assert min(found["dot"], found["l2"]) > found["most frequent"] + 0.1
    assert "300 held-out images of scikit-learn's digits" in capsys.readouterr().out


def test_l2_on_shapes_where_there_is_no_scikit_learn(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    found = images_l2.main(epochs=2, count=300)
    assert set(found) == {"most frequent", "dot", "l2"}
    assert "generated shapes (no scikit-learn here)" in capsys.readouterr().out


def test_cosine_on_series(capsys):
    found = series_cosine.main(steps=3)
    assert found["noise alone"] < found["week before"] < max(found["dot"], found["cosine"])
    assert "672 held-out forecasts" in capsys.readouterr().out


def test_the_held_out_days_come_after_everything_trained_on():
    values = series_cosine.series(count=2)
    week, day = series_cosine.held_out(values)
    begins = series_cosine.cut(values)
    assert torch.equal(week[0], values[0, begins : begins + series_cosine.WEEK])
    assert day.shape == (len(week), series_cosine.DAY)
