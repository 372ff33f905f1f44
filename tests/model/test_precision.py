"""The number format of ``dtype="auto"``."""

import pytest
import torch

from heed.model.precision import fast_dtype


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_only_where_the_cpu_multiplies_it(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_dtype("cpu") == expected


def test_devices_that_are_not_measured_get_float32():
    assert fast_dtype("mps") == torch.float32
