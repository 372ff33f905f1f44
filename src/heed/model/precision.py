"""Which number format a device computes fastest in without being worse at it."""

import torch


def fast_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where the device multiplies it natively (AVX-512 BF16, AMX, CUDA from Ampere on), else float32.

    Emulated bfloat16 is slower than float32, so a device without the instructions gets float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if kind != "cpu":
        return torch.float32
    can = torch.cpu.get_capabilities()
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32
