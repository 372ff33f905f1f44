"""Analyses on disk: found again, bounded, safe with other processes, and never a pickle."""

import logging
import multiprocessing
import pickle

import diskcache
import numpy as np
import pytest

from heed.errors import StoreError, TooLongError
from heed.probe import analyse, analyses, analyses_info, clear_analyses
from tiny import keen_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return keen_model(tmp_path_factory.mktemp("model") / "keen")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEED_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "analyses"


def test_the_same_input_is_found_and_says_so(model, cache):
    first, second = analyse(model, "One. Two."), analyse(model, "One. Two.")
    assert (first.trace.cached, second.trace.cached) == (False, True)
    assert "cached" in dict(second.scene().facts)
    assert "cached" not in dict(first.scene().facts)
    for name, values in first.statistics.values.items():
        np.testing.assert_array_equal(second.statistics.values[name], values)
    np.testing.assert_array_equal(second.statistics.rollout, first.statistics.rollout)
    assert second.statistics.spans == first.statistics.spans == ("One.", "Two.")
    assert analyses_info().entries == 2
    assert cache.stat().st_mode & 0o077 == 0


def test_other_texts_models_settings_and_names_are_other_analyses(model):
    analyse(model, "abc")
    assert not analyse(model, "abd").trace.cached
    assert not analyse(model, "abc", new_tokens=1).trace.cached
    ids = analyse(model, "abc").trace.ids
    assert analyse(model, "abc").trace.cached
    asked = [{"role": "user", "content": "a"}], [{"role": "assistant", "content": "a"}]
    assert not any(analyse(model, prompt).trace.cached for prompt in asked)
    model.hf.model.norm.weight.data += 1
    again = type(model)(model.hf, model.tokenizer, model.name, model.anatomy, model.origin)
    assert not analyse(again, ids).trace.cached
    model.hf.model.norm.weight.data -= 1


def test_without_a_cache_nothing_is_kept(model, cache):
    assert not analyse(model, "abc", cached=False).trace.cached
    assert not cache.exists()
    assert analyses_info().entries == 0


def test_a_damaged_file_is_read_again_and_told(model, cache, caplog):
    analyse(model, "abc" * 160)
    largest = max(cache.rglob("*.val"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        assert not analyse(model, "abc" * 160).trace.cached
    assert "cannot be read" in caplog.text
    assert analyse(model, "abc" * 160).trace.cached


def test_the_size_is_bounded_and_the_longest_unused_goes_first(model, monkeypatch):
    monkeypatch.setenv("HEED_ANALYSES_MB", "0.6")
    for number in range(5):
        analyse(model, f"{number} " + "abc" * 160)
    assert 0 < analyses_info().mb < 0.9
    assert analyse(model, "4 " + "abc" * 160).trace.cached
    assert not analyse(model, "0 " + "abc" * 160).trace.cached


def test_what_would_fill_half_the_place_is_not_kept(model, monkeypatch):
    monkeypatch.setenv("HEED_ANALYSES_MB", "0.2")
    analyse(model, "abc" * 160)
    assert not analyse(model, "abc" * 160).trace.cached


def test_a_pickle_that_somebody_planted_is_not_opened(model, cache):
    analyse(model, "abc")
    with diskcache.Cache(cache) as store:
        for key in list(store):
            store[key] = {"a": pickle.dumps}
    with pytest.raises(StoreError, match="found a pickle"):
        analyse(model, "abc")


def test_clear_empties_it(model):
    analyse(model, "abc")
    assert clear_analyses().entries == 2
    assert analyses_info().entries == 0
    assert clear_analyses().entries == 0


def test_a_folder_that_cannot_be_used_is_told(model, cache):
    cache.parent.mkdir()
    cache.write_text("a file")
    with pytest.raises(StoreError, match=r"expected a folder for analyses at .*--no-cache"):
        analyse(model, "abc")


def test_a_text_that_does_not_fit_is_refused_before_anything_is_kept(model, cache):
    with pytest.raises(TooLongError):
        analyse(model, "a" * 513)
    assert not cache.exists()


def _fill(mine: int) -> None:
    for number in range(20):
        with analyses._opened() as kept:
            kept.set(f"{mine} {number}", b"x" * 50_000, retry=True)
            kept.get(f"{1 - mine} {number}", retry=True)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_several_processes_share_it(cache):
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=_fill, args=(mine,)) for mine in range(2)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0]
    assert analyses_info().entries == 40
