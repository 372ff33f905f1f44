"""Questions as plain parameters: what is understood, what is refused, the bytes, and calling off."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import InputError
from heed.picture import desk as desk_module
from heed.picture.desk import BusyError, Desk
from heed.picture.maps import StoppedError
from mapped import Gate, coarse, folded, scene_of, weights_of

WEIGHTS = weights_of(300, 300)
TILE = {"layer": 0, "head": 1, "level": 0, "row": 0, "col": 0}


@pytest.fixture
def desk():
    made = Desk(scene_of(WEIGHTS))
    yield made
    made.close()


def halves(body: bytes, *shape: int) -> np.ndarray:
    return np.frombuffer(body, "<f2").astype(np.float32).reshape(shape) / 32768


def test_the_finest_level_is_in_full_precision(desk) -> None:
    reply = desk.ask("tile", TILE | {"row": 1}).future.result(10)
    np.testing.assert_array_equal(np.frombuffer(reply.body, "<f4").reshape(44, 256), WEIGHTS[0, 1, 256:, :256])
    assert (reply.rows_read, reply.rows_total, reply.exact) == (44, 44, True)


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_coarse_levels_are_scaled_halves(desk, aggregate) -> None:
    """Words as a query string brings them: no value is a number yet."""
    words = {name: str(value) for name, value in (TILE | {"level": 1}).items()}
    got = halves(desk.ask("tile", words | {"aggregate": aggregate, "exact": "1"}).future.result(10).body, 150, 150)
    want = folded(WEIGHTS[0, 1], 2, aggregate)
    np.testing.assert_allclose(got, want, rtol=2**-11, atol=2e-9)


def test_weights_of_a_millionth_survive_as_halves() -> None:
    weights = np.full((1, 1, 300, 300), 1e-7, dtype=np.float32)
    weights[..., 0] = 1 - 299e-7
    desk = Desk(scene_of(weights))
    got = halves(desk.ask("tile", {**TILE, "head": 0, "level": 1, "col": 0}).future.result(10).body, 150, 150)
    np.testing.assert_allclose(got[:, 1:], 1e-7, rtol=1e-3)
    assert got[0, 0] == 1
    desk.close()


def test_rows_columns_and_thumbnails(desk) -> None:
    where = {"layer": 0, "head": 1, "start": 299, "end": 300}
    row = desk.ask("row", where).future.result(10)
    np.testing.assert_array_equal(np.frombuffer(row.body, "<f4"), WEIGHTS[0, 1, 299])
    column = np.frombuffer(desk.ask("column", where).future.result(10).body, "<f4")
    assert column[299] == WEIGHTS[0, 1, 299, 299]
    assert np.isnan(column[:299]).all()
    thumbnail = desk.ask("thumbnail", where).future.result(10)
    assert len(thumbnail.body) == 48 * 48 * 2


@pytest.mark.parametrize(
    ("what", "more", "says"),
    [
        ("tile", {"level": "x"}, "expected a whole number as level, found 'x'"),
        ("tile", {"level": None}, "expected a whole number as level"),
        ("tile", {"level": "1" * 400}, "expected a whole number as level"),
        ("tile", {"level": "٣"}, "expected a whole number as level"),
        ("tile", {"level": 10**8}, "expected a tile of levels 0 to 1"),
        ("tile", {"level": 1.5}, "expected a whole number"),
        ("tile", {"aggregate": "sum"}, "expected max or mean as aggregate, found 'sum'"),
        ("tile", {"sinks": []}, "expected keep or drop as sinks"),
        ("tile", {"head": 9}, "expected a layer and a head of this picture"),
        ("row", {"start": 5, "end": 5}, "expected a stretch of rows"),
        ("row", {}, "expected a whole number as start"),
        ("matrix", {}, "expected one of tile, row, column, thumbnail, found 'matrix'"),
    ],
)
def test_what_cannot_be_answered_is_said(desk, what, more, says) -> None:
    with pytest.raises(InputError, match=says):
        desk.ask(what, TILE | more).future.result(10)


@given(
    st.dictionaries(
        st.sampled_from(["layer", "head", "level", "row", "col", "exact", "aggregate"]),
        st.text(max_size=5) | st.integers() | st.none(),
    )
)
def test_no_parameters_break_it(more) -> None:
    desk = Desk(SCENE)
    try:
        reply = desk.ask("tile", TILE | more).future.result(10)
    except InputError:
        pass
    else:
        assert reply.rows_read <= reply.rows_total
    finally:
        desk.close()


SCENE = scene_of(weights_of(63, 63))


@pytest.fixture
def gated(monkeypatch):
    coarse(monkeypatch)
    scene = scene_of(weights_of(129, 129))
    gate = Gate(scene.maps)
    made = Desk(replace(scene, maps=gate))
    yield made, gate
    gate.open.set()
    made.close()


OVERVIEW = TILE | {"level": 5, "exact": 1}


def test_work_that_is_called_off_ends_after_its_block_and_the_next_goes_on(gated) -> None:
    desk, gate = gated
    first, second = desk.ask("tile", OVERVIEW), desk.ask("tile", OVERVIEW | {"head": 0})
    assert gate.begun.wait(10)
    busy, progress = desk.status()
    assert busy
    assert progress < 1
    first.call_off()
    gate.open.set()
    with pytest.raises(StoppedError):
        first.future.result(10)
    assert second.future.result(10).exact
    assert desk.status() == (False, 1.0)


def test_what_is_called_off_before_its_turn_never_begins(gated) -> None:
    desk, gate = gated
    first, second = desk.ask("tile", OVERVIEW), desk.ask("tile", OVERVIEW | {"head": 0})
    second.call_off()
    gate.open.set()
    assert first.future.result(10).exact
    blocks = gate.blocks
    with pytest.raises(StoppedError):
        second.future.result(10)
    assert gate.blocks == blocks


def test_long_work_steps_aside_for_what_is_quick(gated) -> None:
    desk, gate = gated
    slow = desk.ask("tile", OVERVIEW)
    assert gate.begun.wait(10)
    quick = [desk.ask("tile", TILE | {"row": row}) for row in range(8)]
    ended = []
    for job in (slow, *quick):
        job.future.add_done_callback(ended.append)
    gate.open.set()
    assert all(job.future.result(10).exact for job in (slow, *quick))
    assert ended[-1] is slow.future


def test_too_many_questions_are_told_to_wait(gated, monkeypatch) -> None:
    desk, gate = gated
    monkeypatch.setattr(desk_module, "_MOST_WAITING", 3)
    jobs = [desk.ask("tile", TILE) for _ in range(3)]
    with pytest.raises(BusyError, match="ask again in a second"):
        desk.ask("tile", TILE)
    gate.open.set()
    for job in jobs:
        job.future.result(10)
    assert desk.ask("tile", TILE).future.result(10).exact


def test_closing_calls_everything_off(gated) -> None:
    desk, gate = gated
    job = desk.ask("tile", OVERVIEW)
    assert gate.begun.wait(10)
    desk.close()
    gate.open.set()
    with pytest.raises(StoppedError):
        job.future.result(10)
    with pytest.raises(BusyError, match="ends"):
        desk.ask("tile", TILE)
