"""The Triton kernels, on a GPU where there is one, else through Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from heed.attention import distance_attention
from heed.attention.distance import triton_path
from heed.errors import InputError

METRICS = ("dot", "cosine", "l1", "l2", "sqeuclidean", "lp", "chebyshev", "l21", "linf2")
NAMES = ("lse", "entropy", "max_probability", "mean_distance")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install 'heed[triton]'"
)


@pytest.fixture(scope="module")
def _kernels():
    """Import the kernels so that they run here; Triton decides at their import whether to interpret them."""
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")
        triton_path.status.cache_clear()
        assert triton_path.status().available
        yield
    triton_path.status.cache_clear()


pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")


def operands(metric: str, rows: int, keys: int, width: int = 6, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Two query heads to a key head; every second coordinate of the first key equals the first query's."""
    q = torch.randn(2, 4, rows, width)
    k, v = torch.randn(2, 2, keys, width), torch.randn(2, 2, keys, 5)
    k[:, 0, 0, ::2] = q[:, 0, 0, ::2]
    given = {"q": q, "k": k, "v": v, "lam": torch.rand(4) + 0.5}
    if metric == "lp":
        given["p"] = torch.tensor([0.7, 1.0, 2.5, 8.0])
    return {name: x.to(DEVICE, dtype) for name, x in given.items()}


def run(
    metric: str, given: dict[str, Any], backend: str, dtype: torch.dtype, **options: Any
) -> dict[str, torch.Tensor]:
    """Output, row values and gradients in fp64."""
    given = {name: x.to(dtype).requires_grad_() for name, x in given.items()}
    q, k, v = (given[name] for name in "qkv")
    rest = {name: x for name, x in given.items() if name not in "qkv"}
    asked = {"metric": metric, "backend": backend, "enable_gqa": True, "return_aux": NAMES, **options}
    out, aux = distance_attention(q, k, v, **rest, **asked)
    generator = torch.Generator().manual_seed(1)
    weights = (torch.randn(x.shape, generator=generator).to(x) for x in (out, aux.lse))
    seen = aux.lse.masked_fill(aux.lse == -torch.inf, 0.0)
    loss = sum((weight * x).sum() for weight, x in zip(weights, (out, seen), strict=True))
    grads = torch.autograd.grad(loss, list(given.values()))
    found = {"out": out, **{name: getattr(aux, name) for name in NAMES}}
    found |= {f"grad {name}": grad for name, grad in zip(given, grads, strict=True)}
    return {name: x.detach().double() for name, x in found.items()}


def masks(rows: int, keys: int) -> dict[str, Any]:
    """Everything that hides and biases at once; the last row of the second batch sees nothing."""
    key_mask = torch.rand(2, keys) > 0.2
    key_mask[1] = False
    key_mask[1, 0] = True
    mask = torch.randn(1, 4, rows, keys)
    mask[..., -1, 0] = -torch.inf
    moved = {"attn_mask": mask, "key_mask": key_mask, "alibi_slopes": torch.rand(4)}
    return {"is_causal": True, "window": 11, **{name: x.to(DEVICE) for name, x in moved.items()}}


@needs_triton
@pytest.mark.usefixtures("_kernels")
class TestKernels:
    @pytest.mark.parametrize("metric", METRICS)
    def test_forward_and_gradients_are_those_of_the_reference(self, metric):
        given, options = operands(metric, 17, 35), masks(17, 35)
        wanted = run(metric, given, "reference", torch.float64, **options)
        assert bool((wanted["lse"] == -torch.inf).any())
        found = run(metric, given, "triton", torch.float64, **options)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_at_most_twice_as_wrong_as_plain_torch(self, metric, dtype):
        given = operands(metric, 13, 21, dtype=dtype)
        del given["lam"]  # folding λ in rounds q and k once more, which is not the kernel's error
        if metric == "lp":
            given["p"] = given["p"].clamp(min=1.0)  # below 1 the slope has no bound
        true = run(metric, given, "reference", torch.float64, scale=1.0)
        plain = run(metric, given, "reference", dtype, scale=1.0)
        found = run(metric, given, "triton", dtype, scale=1.0)
        if metric == "chebyshev" and dtype == torch.bfloat16:  # ties are common; which coordinate takes them is free
            del true["grad q"], true["grad k"]
        for name, value in true.items():
            floor = 4 * torch.finfo(dtype).eps * float(value.abs().max())
            allowed = 2 * float((plain[name] - value).abs().max()) + floor
            assert float((found[name] - value).abs().max()) <= allowed, name

    @pytest.mark.parametrize("metric", ["l1", "dot"])
    def test_dropout_drops_what_the_reference_drops(self, metric):
        given, options = operands(metric, 17, 35), {"dropout_p": 0.3, "seed": (1 << 62) + 5}
        wanted = run(metric, given, "reference", torch.float64, **options)
        found = run(metric, given, "triton", torch.float64, **options)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize(
        ("rows", "keys", "options"),
        [
            (1, 100, {"is_causal": True}),
            (63, 63, {"window": 7}),
            (100, 1, {}),
            (35, 34, {"is_causal": True, "window": 40, "q_offset": 20}),
            (35, 34, {"is_causal": True, "q_offset": -10}),
            (20, 70, {"window": 3, "q_offset": 60}),
            (70, 100, {"window": 34, "q_offset": 0}),
        ],
    )
    def test_edges_of_tiles_windows_and_offsets(self, rows, keys, options):
        given = operands("l1", rows, keys, width=1)
        mask = torch.rand(2, 1, 1, keys, device=DEVICE) > 0.3
        wanted = run("l1", given, "reference", torch.float64, attn_mask=mask, **options)
        found = run("l1", given, "triton", torch.float64, attn_mask=mask, **options)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)

    def test_strided_and_expanded_tensors(self):
        given = operands("l1", 9, 9)
        turned = given | {"q": given["q"].transpose(1, 2).contiguous().transpose(1, 2)}
        turned["v"] = given["v"][:1].expand(2, -1, -1, -1)
        found = run("l1", turned, "triton", torch.float64)
        wanted = run("l1", {name: x.contiguous() for name, x in turned.items()}, "reference", torch.float64)
        torch.testing.assert_close(found["out"], wanted["out"])

    def test_numbers_of_heads_that_do_not_lie_together(self):
        given = operands("lp", 9, 9) | {"p": torch.tensor(2.5, device=DEVICE, dtype=torch.float64)}
        slopes = torch.linspace(0.1, 0.8, 8, device=DEVICE)[::2]
        found, wanted = (run("lp", given, path, torch.float64, alibi_slopes=slopes) for path in ("triton", "reference"))
        for what, truth in wanted.items():
            torch.testing.assert_close(found[what], truth, msg=what)

    def test_what_it_cannot_do_is_said(self):
        q = torch.randn(1, 1, 3, 4, device=DEVICE)
        wide = torch.randn(1, 1, 3, 300, device=DEVICE)
        with pytest.raises(InputError, match="width 256 at most"):
            distance_attention(q, q, wide, metric="l1", backend="triton")
        with pytest.raises(InputError, match="found meta"):
            distance_attention(*[q.to("meta")] * 3, metric="l1", backend="triton")

    def test_tiles_of_fp32_fit_into_an_a100(self):
        """Compiled for a GPU, not run: the shared memory of every kernel for the widest usual head."""
        compiling = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        command = [sys.executable, "-W", "ignore", "-c", COMPILED]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=compiling)
        assert done.returncode == 0, done.stderr[-2000:]
        assert max(map(int, done.stdout.split())) <= 163 * 1024


COMPILED = """
import torch, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from heed.attention.distance import triton_kernels as kernels, triton_path
from heed.attention.distance.call import Call

def shared(kernel, kind, dtype, width):
    x = torch.zeros(1, 1, 1, width, dtype=dtype)
    constants = triton_path._constants(Call(x, x, x, kind, torch.ones(1), causal=True))
    warps, name = constants.pop("num_warps"), {torch.bfloat16: "*bf16", torch.float32: "*fp32"}[dtype]
    terms = kernels.Terms("*fp32", "*fp32", "*u8", ("i64",) * 4, "*u8", "*fp32", "i32", "i32")
    known = {"sizes": kernels.Sizes(*["i32"] * 6), "terms": terms, "dropout": kernels.Dropout("*i64", "i32", "fp32")}
    known |= {part: name for part in ("q", "k", "v", "grad_out")} | {part: "constexpr" for part in constants}
    signature = {part: known.get(part, "*fp32") for part in kernel.arg_names}
    fixed = {(kernel.arg_names.index(part),): value for part, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": warps})
    return compiled.metadata.shared

for kernel in (kernels.forward, kernels.backward_queries, kernels.backward_keys):
    print(shared(kernel, "dot", torch.float32, 128))
"""


def test_without_triton_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "heed.attention.distance.triton_kernels", raising=False)
    triton_path.status.cache_clear()
    assert not triton_path.status().available
    x = torch.randn(1, 1, 3, 4)
    with pytest.raises(InputError, match=r"heed\[triton\]"):
        distance_attention(x, x, x, metric="l1", backend="triton")
    triton_path.status.cache_clear()
