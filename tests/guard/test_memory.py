"""A model that nothing of the caller's holds any more is let go of, whatever heed did with it."""

import asyncio
import gc
from time import monotonic, sleep
from weakref import ref

import pytest

from heed.guard import Guard
from heed.model import load, wrap
from heed.probe import trace
from heed.profile import Profile
from tiny import tiny_folder, tiny_profile

PATIENCE_S = 10.0
SHARED = "Answer the question of the customer politely, in one sentence, from the text below. " * 3


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Profile:
    return Profile.load(tiny_profile(tmp_path_factory.mktemp("p") / "profile.json"))


def gone(*held) -> bool:
    """Whether all is let go of, a thread's last hold included that it is just giving up."""
    until = monotonic() + PATIENCE_S
    while any(one() is not None for one in held) and monotonic() < until:
        gc.collect()
        sleep(0.01)
    return all(one() is None for one in held)


@pytest.fixture
def folder(tmp_path):
    return tiny_folder(tmp_path / "tiny")


def checked(guard):
    for data in ("Hello.", "Hi.", "Bye."):  # the same beginning thrice: it is kept
        guard.check(SHARED, data)
    assert guard._listening._prefix._kept


def asked_from_asyncio(guard):
    asyncio.run(guard.acheck("Greet.", "Hello."))


def cancelled(guard):
    async def ask():
        tasks = [asyncio.create_task(guard.acheck("Greet.", f"Hello {n}.")) for n in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(ask())


def cached(guard):
    Guard(guard.model, profile=guard.profile, threshold=0.5, cache=9).check("Greet.", "Hello.")


def failed(guard):
    guard.check("Greet.", "far too long " * 100)
    with pytest.raises(ZeroDivisionError):
        guard.check_many([("Greet.", "Hello.")], progress=lambda *_: 1 // 0)


def traced(guard):
    trace(guard.model, "Hello.")


@pytest.mark.parametrize("use", [checked, asked_from_asyncio, cancelled, cached, failed, traced])
def test_the_model_is_freed(folder, profile, use):
    guard = Guard(load(folder, dtype="float32"), profile=profile, threshold=0.5)
    use(guard)
    hf, tokenizer = ref(guard.model.hf), ref(guard.model.tokenizer)
    weights = ref(guard.model.hf.get_input_embeddings().weight)
    del guard
    assert gone(hf, tokenizer, weights)


def test_verdicts_and_stats_do_not_hold_the_model(folder, profile):
    guard = Guard(load(folder, dtype="float32"), profile=profile, threshold=0.5)
    verdict, stats = guard.check("Greet.", "Hello."), guard.stats()
    hf = ref(guard.model.hf)
    del guard
    assert gone(hf)
    assert verdict.status == "ok"
    assert stats.checks == 1


def test_a_prefix_cache_that_outlives_the_model_does_not_hold_it(folder, profile):
    guard = Guard(load(folder, dtype="float32"), profile=profile, threshold=0.5)
    checked(guard)
    hf, kept = ref(guard.model.hf), guard._listening._prefix
    del guard
    assert gone(hf)
    assert kept._kept


def test_a_second_model_takes_the_place_of_the_first(folder, profile):
    guard = Guard(load(folder, dtype="float32"), profile=profile, threshold=0.5)
    checked(guard)
    first = ref(guard.model.hf)
    guard = Guard(load(folder, dtype="float32"), profile=profile, threshold=0.5)
    checked(guard)
    assert gone(first)


def test_a_model_the_caller_holds_stays(folder, profile):
    model = load(folder, dtype="float32")
    Guard(wrap(model.hf, model.tokenizer), profile=profile, threshold=0.5).check("Greet.", "Hello.")
    gc.collect()
    assert Guard(model, profile=profile, threshold=0.5).check("Greet.", "Hello.").status == "ok"
