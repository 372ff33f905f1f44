"""The bars of citation: figures of an evaluation become claims; sets of one family are never fitted on each other."""

import numpy as np

import cite_quality
import cite_speed
from cite_quality import FUSED, LEARNED, claims, family
from heed.citation import Scores
from heed.citation.data import LabelledQuestion, row_of
from heed.evaluation import Controls, evaluate_citation


def row(place: int, group: str) -> LabelledQuestion:
    units = [f"Fact {number}." for number in range(9)]
    question = row_of({"question": f"Which {place}?", "units": units, "response": "That."}, "here").question
    return LabelledQuestion(str(place), group, question, " ", frozenset({8}), (frozenset({8}),))


def ranks(order):
    return lambda question: Scores(np.array([float(order * place) for place in range(len(question.units))]))


def found(monkeypatch, *, fused: int):
    monkeypatch.setattr("heed.evaluation.citation._REPEATS", 100)
    methods = {LEARNED: ranks(1), FUSED: ranks(fused), **{name: ranks(-1) for name in ("bm25", "lead", "recency")}}
    sets = ("entailment_bank", "medcalc", "wice", "hotpotqa")
    rows = [row(place, group) for group in sets for place in range(10)]
    return {one.name: one for one in claims(evaluate_citation(methods, rows, model="m", controls=Controls(0, 0, 0)))}


def test_what_finds_the_fact_meets_the_bars(monkeypatch):
    made = found(monkeypatch, fused=1)
    assert all(one.met for one in made.values())
    assert made["EntailmentBank, question: recall@5 of learned"].figure == 1.0
    assert made["EntailmentBank, response: recall@5 of learned less bm25"].bar == 0.0
    assert made["sets where learned+bm25 beats bm25"].figure == 4
    assert len([name for name in made if name.startswith("MedCalc")]) == 3


def test_what_does_not_misses_them(monkeypatch):
    made = found(monkeypatch, fused=-1)
    assert made["sets where learned+bm25 beats bm25"].met is False
    assert made["sets where learned+bm25 is worse than bm25"].figure == 0


def test_families():
    assert family("babi_qa1") == family("babi_qa16")
    assert family("hotpotqa") == family("ircot_2wikimultihopqa")
    assert family("wice") == "wice"


def test_speed_is_a_ratio_of_sums():
    rows = [row(0, "one"), row(1, "two")]

    class Named:
        name = "m"

    seconds = {"learned": [1.0, 1.0], "leave_one_out": [9.0, 15.0], "random": [0.0, 0.0]}
    drops = {"learned": [[1.0, 2.0, 4.0]] * 2, "leave_one_out": [[2.0, 2.0, 5.0]] * 2, "random": [[0.0, 0.0, 1.0]] * 2}
    made = {one.name: one for one in cite_speed.claims(Named(), rows, seconds, drops)}
    assert made["nats lost without the first 5: learned / leave-one-out"].met is False
    assert made["nats lost without the first 5: learned / leave-one-out"].figure == 0.8
    assert made["nats lost without the first 1: learned / leave-one-out"].bar is None
    assert made["time: leave-one-out / learned"].figure == 12.0
    assert cite_quality.SLOW == ("leave_one_out", "contextcite")
