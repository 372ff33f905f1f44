"""The page of rows that were left out: sets of one family go together, every recall stands beside its floor."""

from functools import partial

import compare_embedded_citations as script
import numpy as np
import pytest
from fit_embedded_citations import family

from heed.citation.data import LabelledQuestion, row_of
from heed.citation.fit import Read
from heed.measure import bootstrap_interval

FACTS = 8


def row(group: str, place: int) -> LabelledQuestion:
    units = [f"Fact {number} of {place}." for number in range(FACTS)]
    question = row_of({"question": f"Which {place}?", "units": units, "response": "That."}, "here").question
    gold = frozenset({place % FACTS})
    return LabelledQuestion(str(place), group, question, " ", gold, (gold,))


def read(one: LabelledQuestion, head: int) -> Read:
    """Noise, but for one head that puts more on the gold fact."""
    contrasts = np.random.default_rng(int(one.id)).normal(size=(FACTS, 1, 1, 3))
    contrasts[sorted(one.gold), 0, 0, head] += 20.0
    return Read(contrasts, one.gold, one.group, one.id)


@pytest.fixture
def found():
    """Each family has a head of its own, which weights that did not see the family do not know."""
    heads = {"babi_qa1": 0, "babi_qa2": 0, "medcalc": 1, "wice": 2}
    rows = [row(group, place) for group in heads for place in range(20)]
    return script.recalls("response", [read(one, heads[one.group]) for one in rows], rows, 1)


def test_a_relative_gives_away_what_a_family_left_out_does_not(found):
    assert {name: family(name) for name in ("babi_qa2", "ircot_x", "hotpotqa", "wice")} == {
        "babi_qa2": "babi", "ircot_x": "multihop", "hotpotqa": "multihop", "wice": "wice",
    }  # fmt: skip
    assert [way for way, name in found if name == "babi_qa1"] == ["row", "set", "family"]
    assert [way for way, name in found if name == "medcalc"] == ["row", "set"]
    assert found["set", "babi_qa1"]["learned"].mean() == 1.0
    assert found["family", "babi_qa1"]["learned"].mean() < 0.9


def test_every_recall_stands_beside_its_floor_and_the_oracle(found, monkeypatch):
    monkeypatch.setattr(script, "bootstrap_interval", partial(bootstrap_interval, repeats=100))
    page = script.page({"response": found})
    head, _, first = page.splitlines()[:3]
    cells = dict(zip(head.split(" | "), first.split(" | "), strict=True))
    lead = np.mean([place % FACTS < script.AT for place in range(20)])
    assert (float(cells["lead"]), float(cells["oracle"])) == (pytest.approx(lead, abs=1e-3), 1.0)
    assert page.count("\n| set | learned | 20 |") == 1  # MedCalc alone has the second table
    assert "| - random | - lead | - recency | - bm25 |" in page
