import copy
import re

import pytest
import torch
from torch import nn

from heed.model.fingerprint import fingerprint


def test_it_is_32_hex_digits_and_stays(llama):
    assert re.fullmatch("[0-9a-f]{32}", fingerprint(llama))
    assert fingerprint(llama) == fingerprint(copy.deepcopy(llama))


def test_it_is_fixed_for_known_weights():
    """A stored profile lists fingerprints: changing the recipe orphans them all."""
    model = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(6.0).view(2, 3) / 7)
        model[0].bias.fill_(-1)
    assert fingerprint(model) == "63ff2b3c9104c3fe4ab30d8f91bb16db"


def test_number_format_does_not_matter(llama):
    before = fingerprint(llama)
    assert fingerprint(llama.to(torch.bfloat16)) == before
    assert fingerprint(llama.to(torch.float32)) == before


def test_tied_weights_count_once(llama):
    untied = fingerprint(llama)
    llama.lm_head.weight = llama.model.embed_tokens.weight
    assert fingerprint(llama) != untied


@pytest.mark.parametrize("place", [0, -1])
def test_first_and_last_value_count(llama, place):
    before = fingerprint(llama)
    with torch.no_grad():
        llama.model.embed_tokens.weight.view(-1)[place] += 1
    assert fingerprint(llama) != before


def test_shape_counts():
    wide, high = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)
    with torch.no_grad():
        high.weight.copy_(wide.weight.reshape(6, 2))
    assert fingerprint(wide) != fingerprint(high)


def test_names_count():
    one = nn.Linear(3, 3, bias=False)
    assert fingerprint(nn.ModuleDict({"a": one})) != fingerprint(nn.ModuleDict({"b": one}))


def test_empty_and_single_values():
    model = nn.ParameterList([torch.zeros(0), torch.ones(1), torch.ones(())])
    assert fingerprint(model) == fingerprint(copy.deepcopy(model))
