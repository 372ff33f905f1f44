"""Checks from asynchronous code: same verdicts, a free event loop, one pass at a time, and cancelling."""

import asyncio
import gc
import threading

import pytest

from heed.guard import Guard
from heed.model import load, wrap
from heed.profile import Profile
from tiny import tiny_folder, tiny_profile

PAIRS = [("Greet.", "Hello."), (None, "Say yes. " * 12), ("Greet.", ""), ("Sum up.", "Milk, eggs, bread.")]
PATIENCE_S = 10.0
"""Longest wait for what must come; reached only where a test fails."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tiny_folder(tmp_path_factory.mktemp("m") / "tiny"), dtype="float32")


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Profile:
    return Profile.load(tiny_profile(tmp_path_factory.mktemp("p") / "profile.json"))


@pytest.fixture
def guard(model, profile) -> Guard:
    return Guard(model, profile=profile, threshold=0.5)


class Gate:
    """Holds passes up until it is opened; says how many are under way, and how many were at most."""

    def __init__(self, monkeypatch):
        self.opened, self.entered = threading.Event(), threading.Event()
        self.now = self.most = self.passes = 0
        lock, hear = threading.Lock(), Guard._hear

        def held(guard, batch):
            with lock:
                self.now += 1
                self.passes += 1
                self.most = max(self.most, self.now)
            self.entered.set()
            assert self.opened.wait(PATIENCE_S)
            found = list(hear(guard, batch))
            with lock:
                self.now -= 1
            return iter(found)

        monkeypatch.setattr(Guard, "_hear", held)

    async def reached(self):
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_S)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_the_verdicts_are_those_of_check(guard):
    async def ask():
        return await guard.acheck_many(PAIRS), await guard.acheck(*PAIRS[0])

    many, one = asyncio.run(ask())
    expected = guard.check_many(PAIRS)
    assert [(v.status, v.score, v.data) for v in many] == [(v.status, v.score, v.data) for v in expected]
    assert one.score == pytest.approx(many[0].score, abs=1e-4)


def test_the_loop_is_free_while_a_pass_runs(guard, gate):
    async def ask():
        task = asyncio.create_task(guard.acheck(*PAIRS[0]))
        await gate.reached()
        await asyncio.sleep(0)
        assert not task.done()
        gate.opened.set()
        return await task

    assert asyncio.run(ask()).status == "ok"


def test_one_pass_at_a_time_for_a_model_and_its_wraps(model, profile, guard, gate):
    other = Guard(wrap(model.hf, model.tokenizer), profile=profile, threshold=0.5)

    async def ask():
        gate.opened.set()
        return await asyncio.gather(*(one.acheck("Greet.", f"Hello {n}.") for n in range(6) for one in (guard, other)))

    assert [verdict.status for verdict in asyncio.run(ask())] == ["ok"] * 12
    assert (gate.most, gate.passes) == (1, 12)


def test_two_models_do_not_wait_for_each_other(tmp_path, profile, guard, gate):
    other = Guard(load(tiny_folder(tmp_path / "a" / "tiny"), dtype="float32"), profile=profile, threshold=0.5)

    async def ask():
        tasks = [asyncio.create_task(one.acheck(*PAIRS[0])) for one in (guard, other)]
        while gate.now < 2:
            await asyncio.sleep(0.01)
        gate.opened.set()
        await asyncio.gather(*tasks)

    asyncio.run(asyncio.wait_for(ask(), PATIENCE_S))
    assert gate.most == 2


def test_cancelled_while_waiting_it_is_never_begun(guard, gate):
    async def ask():
        first = asyncio.create_task(guard.acheck(*PAIRS[0]))
        await gate.reached()
        second = asyncio.create_task(guard.acheck(*PAIRS[3]))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.opened.set()
        return await first

    assert asyncio.run(ask()).status == "ok"
    assert gate.passes == guard.stats().checks == 1


def test_cancelled_while_running_it_ends_after_the_pass_and_the_next_is_right(guard, gate):
    guard.batch_tokens = 1  # a pass for each text

    async def ask():
        task = asyncio.create_task(guard.acheck_many(PAIRS * 5))
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.opened.set()
        return await guard.acheck(*PAIRS[0])

    found = asyncio.run(ask())
    assert gate.passes == 2, "one that was under way, one of the next call"
    assert found.score == guard.check(*PAIRS[0]).score


def test_a_time_limit_is_a_cancellation(guard, gate):
    async def ask():
        async with asyncio.timeout(0.05):
            await guard.acheck(*PAIRS[0])

    with pytest.raises(TimeoutError):
        asyncio.run(ask())


def test_progress_is_told_in_the_loop_and_is_complete_before_the_answer(guard):
    guard.batch_tokens = 1
    told = []

    async def ask():
        here = threading.get_ident()
        found = await guard.acheck_many(PAIRS, progress=lambda *tokens: told.append((*tokens, threading.get_ident())))
        assert {thread for *_, thread in told} == {here}
        return sum(verdict.tokens for verdict in found)

    total = asyncio.run(ask())
    assert [done for done, *_ in told] == sorted({done for done, *_ in told})
    assert told[-1][:2] == (total, total)
    assert len(told) == 3


def test_errors_reach_the_caller(guard, monkeypatch):
    def fail(guard, batch):
        raise ZeroDivisionError

    monkeypatch.setattr(Guard, "_hear", fail)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(guard.acheck(*PAIRS[0]))


def test_progress_of_check_many_grows_to_the_tokens_of_what_could_be_read(guard):
    guard.batch_tokens = 1
    told = []
    verdicts = guard.check_many(PAIRS, progress=lambda *tokens: told.append(tokens))
    total = sum(verdict.tokens for verdict in verdicts)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {whole for _, whole in told} == {total}
    assert told[-1] == (total, total)


def test_the_thread_ends_with_its_model(tmp_path, profile):
    guard = Guard(load(tiny_folder(tmp_path / "gone" / "tiny"), dtype="float32"), profile=profile, threshold=0.5)
    asyncio.run(guard.acheck(*PAIRS[0]))
    name = f"heed-{guard.model.name}"
    (thread,) = (thread for thread in threading.enumerate() if thread.name.startswith(name))
    del guard
    gc.collect()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
