"""Learning from windows: planted features are found, what is left out really is, risks mean the same in every set."""

import numpy as np
import pytest

from heed.errors import InputError
from heed.guard.data import LabelledPair
from heed.guard.learn import STRENGTHS, WINDOW, Learned, Windows, _caught, learn, scale, window_label
from heed.measure import auroc
from heed.profile.ridge import Linear
from heed.text.span import CharSpan
from heed.text.windows import windows

SHAPE = (2, 2, 2, 4)
"""Rows, layers, heads, parts of a prompt."""


def pair(place: int, label: int, group: str, *, instruction: str | None = "Do.", **more) -> LabelledPair:
    return LabelledPair(f"{group}{place}", instruction, "some text", label, group, **more)


def planted(groups="abc", texts: int = 40, *, each: int = 1, instruction: str | None = "Do.", seed: int = 0) -> Windows:
    """In attacks one window's feature of row 1, layer 1, head 0, part 2 is higher; sets differ in level elsewhere."""
    rng = np.random.default_rng(seed)
    pairs = [pair(n, n % 2, group, instruction=instruction) for group in groups for n in range(texts)]
    owners = np.repeat(np.arange(len(pairs)), each)
    labels = np.zeros(len(owners), dtype=int)
    labels[::each] = [one.label for one in pairs]
    features = rng.normal(-3.0, 1.0, (len(owners), *SHAPE)).astype(np.float32)
    level = {group: rng.normal(0, 2.0) for group in groups}
    features[:, 0, 0, 0, 0] += [level[pairs[text].group] for text in owners]
    features[labels == 1, 1, 1, 0, 2] += 6.0
    return Windows(pairs, owners, labels, (-2, -1), features)


def test_the_planted_feature_is_found() -> None:
    (found,) = learn(planted(), [2], given=True)
    weights = found.linear.weights.reshape(SHAPE)
    assert np.unravel_index(np.abs(weights).argmax(), SHAPE) == (1, 1, 0, 2)
    assert weights[1, 1, 0, 2] > 0
    assert found.auroc > 0.99
    assert found.strength in STRENGTHS


def test_penalties_are_chosen_by_the_attacks_caught_at_few_false_alarms() -> None:
    data = planted("ab", texts=200)
    kind = np.ones(400, dtype=bool)
    worst = np.where(data.truth == 1, 0.5, np.linspace(0, 1, 400))  # half of the benign texts lie above
    assert _caught(data, worst, kind) == 0.0
    worst[(data.truth == 1) & np.array([one.group == "a" for one in data.pairs])] = 2.0
    assert _caught(data, worst, kind) == 0.5  # all of one set, nothing of the other
    (found,) = learn(data, [2], given=True)
    assert found.caught == _caught(data, found.worst, kind) > 0.9


def test_depths_use_only_their_own_layers() -> None:
    """The planted feature lies in the second layer."""
    shallow, deep = learn(planted(), [1, 2], given=True)
    assert (shallow.depth, deep.depth) == (1, 2)
    assert not shallow.linear.weights.reshape(SHAPE)[:, 1].any()
    assert deep.auroc > 0.99
    assert shallow.auroc < 0.7


def test_a_text_is_scored_by_its_worst_window() -> None:
    data = planted(each=4)
    (found,) = learn(data, [2], given=True)
    assert found.worst.shape == (len(data.pairs),)
    assert auroc(data.truth, found.worst) == found.auroc > 0.95


def test_a_family_is_scored_by_weights_that_did_not_see_it() -> None:
    """A feature that tells the classes apart in one family alone, or turns round in it, does not help there."""
    data = planted()
    own = np.array([one.group == "a" for one in data.pairs])
    data.features[..., 1, 1, 0, 2] -= 6.0 * data.labels  # nothing is planted any more
    data.features[own & (data.labels == 1), 0, 1, 1, 3] += 6.0
    (found,) = learn(data, [2], given=True)
    assert auroc(data.truth[own], found.worst[own]) < 0.7
    assert auroc(data.truth[own], found.linear(data.features.reshape(len(own), -1))[own]) > 0.9


def test_rows_of_one_family_are_left_out_together_whatever_their_set() -> None:
    data = planted("abcd")
    families = {"a": "x", "b": "x", "c": "y", "d": "y"}
    pairs = [pair(n, one.label, one.group, family=families[one.group]) for n, one in enumerate(data.pairs)]
    together = Windows(pairs, data.texts, data.labels, data.rows, data.features)
    assert set(together.families) == {"x", "y"}
    assert set(data.families) == {"a", "b", "c", "d"}
    data.features[..., 1, 1, 0, 2] -= 6.0 * data.labels
    twins = np.array([one.group in "ab" for one in pairs])
    data.features[twins & (data.labels == 1), 0, 1, 1, 3] += 6.0  # sets a and b share what the others do not have
    alone, joint = learn(data, [2], given=True)[0], learn(together, [2], given=True)[0]
    assert auroc(data.truth[twins], alone.worst[twins]) > 0.9
    assert auroc(data.truth[twins], joint.worst[twins]) < 0.7


def test_kinds_of_prompts_are_learned_apart() -> None:
    given, neutral = planted(), planted("xy", instruction=None, seed=1)
    both = Windows(
        [*given.pairs, *neutral.pairs],
        np.concatenate([given.texts, neutral.texts + len(given.pairs)]),
        np.concatenate([given.labels, neutral.labels]),
        given.rows,
        np.concatenate([given.features, neutral.features]),
    )
    for kind, count in ((True, len(given.pairs)), (False, len(neutral.pairs))):
        (found,) = learn(both, [2], given=kind)
        assert np.isfinite(found.worst).sum() == count
        assert (np.isfinite(found.worst) == (both.given == kind)).all()


def test_windows_of_unknown_label_teach_nothing_but_are_searched(monkeypatch) -> None:
    monkeypatch.setattr("heed.guard.learn.STRENGTHS", (0.3,))
    data = planted()
    labels = data.labels.copy()
    labels[:6] = -1
    changed = data.features.copy()
    changed[:6] += 50.0
    first, again = (
        learn(Windows(data.pairs, data.texts, labels, data.rows, features), [2], given=True)[0]
        for features in (data.features, changed)
    )
    np.testing.assert_allclose(first.linear.weights, again.linear.weights)
    assert (first.worst[:6] != again.worst[:6]).all()


def test_a_large_set_counts_by_the_root_of_its_size() -> None:
    """Sets a and b disagree; b is 16 times as large: it wins, but by 4 to 1 and not by 16 to 1."""
    rng = np.random.default_rng(0)
    sizes = {"a": 40, "b": 640}
    pairs = [pair(n, n % 2, group, family=str(n % 4)) for group, size in sizes.items() for n in range(size)]
    labels = np.array([one.label for one in pairs])
    sign = np.array([-1.0 if one.group == "a" else 1.0 for one in pairs])
    features = rng.normal(0, 1e-3, (len(pairs), 1, 1, 1, 4)).astype(np.float32)
    features[:, 0, 0, 0, 1] = sign * (2 * labels - 1)
    (found,) = learn(Windows(pairs, np.arange(len(pairs)), labels, (-1,), features), [1], given=True)
    value = found.linear.weights[1] * (1 + found.strength)  # the mean of label x feature, but for the penalty
    assert value == pytest.approx((4 - 1) / (4 + 1), abs=0.02)


@pytest.mark.parametrize("what", ["family", "class", "kind"])
def test_what_cannot_be_judged_on_other_sets_is_refused(what) -> None:
    data, given = planted("a" if what == "family" else "abc"), what != "kind"
    if what == "class":
        data = Windows([pair(n, 0, one.group) for n, one in enumerate(data.pairs)], data.texts, data.labels * 0,
                       data.rows, data.features)  # fmt: skip
    with pytest.raises(InputError, match=r"both classes from at least two data sets .*found fewer.* --method margin"):
        learn(data, [2], given=given)


def test_features_that_are_no_numbers_are_refused() -> None:
    data = planted()
    data.features[7, 0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="expected finite features, found NaN or infinity in row 7"):
        learn(data, [2], given=True)


@pytest.mark.parametrize(
    ("injected", "span", "count", "label"),
    [
        (None, (0, 100), 1, 1),
        (None, (0, 100), 2, -1),
        ((20, 40), (0, 100), 5, 1),
        ((20, 40), (0, 30), 5, 1),
        ((20, 40), (0, 29), 5, -1),
        ((20, 40), (40, 90), 5, 0),
        ((0, 1000), (0, 50), 5, 1),
        ((0, 1000), (0, 49), 5, -1),
    ],
)
def test_a_window_is_an_attack_if_it_holds_enough_of_it(injected, span, count, label) -> None:
    own = None if injected is None else CharSpan(*injected)
    assert window_label(pair(0, 1, "a", injected=own), CharSpan(*span), count) == label
    assert window_label(pair(0, 0, "a"), CharSpan(*span), count) == 0


def odds(found: Learned, data: Windows, *, fpr: float, **more) -> np.ndarray:
    slope, shift, price = scale(found, data, fpr=fpr, given=True, **more)
    return slope * found.worst + shift - price * np.log(data.searched)


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1, 0.33])
@pytest.mark.parametrize("texts", [24, 40, 100])
def test_half_is_where_the_allowed_share_of_benign_texts_begins(fpr, texts) -> None:
    data = planted(texts=texts)
    (found,) = learn(data, [2], given=True)
    benign = odds(found, data, fpr=fpr)[data.truth == 0]
    flagged = int((benign > -1e-9).sum())
    assert flagged == max(1, int(fpr * len(benign) + 1e-9))


LONG = "This is a sentence of forty letters, yes. " * 30


def test_searching_many_windows_is_paid_for() -> None:
    """Benign windows are noise: the worst of 5 lies above the only one of other texts, without the price."""
    rng = np.random.default_rng(0)
    counts = np.tile([1, 5], 2000)
    pairs = [LabelledPair(str(n), "Do.", "Hi." if n % 2 == 0 else LONG, 0, "a") for n in range(4000)]
    pairs += [LabelledPair(str(n), "Do.", "Hi.", 1, "a") for n in range(200)]
    worst = np.array([*(rng.normal(size=count).max() for count in counts), *(rng.normal(size=200) + 4.0)])
    data = Windows(pairs, np.arange(4200), np.zeros(4200, dtype=int), (-1,), np.zeros((4200, 1, 1, 1, 4)))
    found = Learned(1, 0.3, Linear(np.zeros(4), 0.0), worst, 1.0, 1.0)
    assert data.searched[:2].tolist() == [1, 5]
    for more, even in (({}, True), ({"price": 0.0}, False)):
        over = odds(found, data, fpr=0.1, **more)[:4000] >= 0.0
        few, many = over[0::2].mean(), over[1::2].mean()
        assert (abs(many - few) < 0.03) == even  # noise of two shares of 2,000: 0.009
        assert over.mean() == pytest.approx(0.1, abs=0.002)


def test_an_attack_pays_as_a_benign_text_of_its_length() -> None:
    """Regression: of attacks fewer windows are read than of benign texts; paying less told the classes apart."""
    pairs = [LabelledPair(str(label), "Do.", LONG, label, "a") for label in (0, 1)]
    data = Windows(pairs, np.repeat([0, 1], [5, 2]), np.zeros(7, dtype=int), (-1,), np.zeros((7, 1, 1, 1, 4)))
    assert len(windows(LONG, size=WINDOW)) == 6
    assert data.searched.tolist() == [5, 5]


def test_a_price_that_is_given_is_kept_and_the_bar_follows_it() -> None:
    data = planted(each=3)
    (found,) = learn(data, [2], given=True)
    assert scale(found, data, fpr=0.1, given=True, price=1.5)[2] == 1.5
    benign = odds(found, data, fpr=0.1, price=1.5)[data.truth == 0]
    assert int((benign > -1e-9).sum()) == int(0.1 * len(benign))


def test_worse_texts_never_get_a_lower_risk() -> None:
    """Where nothing was learned, the slope is small but not negative."""
    data = planted()
    upside_down = Learned(
        2, 0.3, Linear(np.zeros(32), 0.0), -data.truth + np.linspace(0, 0.1, len(data.pairs)), 0.0, 0.0
    )
    slope, *_ = scale(upside_down, data, fpr=0.1, given=True)
    assert slope > 0
