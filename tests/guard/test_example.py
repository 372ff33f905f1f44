import json

import pytest

from heed.guard.example import Example, examples

KINDS = ("email", "web", "tool", "ticket", "document")


def twins() -> list[tuple[Example, Example]]:
    found = {example.id: example for example in examples()}
    return [(found[f"{kind}-clean"], found[f"{kind}-injected"]) for kind in KINDS]


def test_examples_are_five_kinds_each_clean_first():
    assert [example.id for example in examples()] == [
        f"{kind}-{side}" for kind in KINDS for side in ("clean", "injected")
    ]
    assert [example.label for example in examples()] == [0, 1] * 5


@pytest.mark.parametrize(("clean", "injected"), twins(), ids=KINDS)
def test_removing_the_injection_gives_the_clean_twin(clean, injected):
    assert clean.injected is None
    assert injected.injected is not None
    start, end = injected.injected.start, injected.injected.end
    assert injected.data[:start] + injected.data[end:] == clean.data
    assert injected.instruction == clean.instruction
    assert injected.kind == clean.kind
    assert end - start > 100


@pytest.mark.parametrize("side", [0, 1])
def test_the_tool_output_is_json_with_and_without_injection(side):
    assert len(json.loads(twins()[KINDS.index("tool")][side].data)["results"]) == 3


def test_the_long_document_is_long_with_the_injection_in_its_middle():
    clean, injected = twins()[KINDS.index("document")]
    assert 1200 <= len(clean.data.split()) <= 1800
    assert injected.injected is not None
    assert 0.3 < injected.injected.start / len(injected.data) < 0.7


def test_addresses_lead_nowhere():
    words = " ".join(example.data for example in examples()).replace("/", " ").replace('"', " ").split()
    hosts = [word for word in words if "@" in word or ".example" in word]
    assert hosts
    assert all(".example" in host for host in hosts)
