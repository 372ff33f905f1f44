"""A pass: early stop, sessions under threads, prefix cache, refusals, memory errors."""

import threading
import warnings

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from heed.errors import InputError, OutOfMemoryError, TooLongError, UnsupportedModelError
from heed.interface.session import StopForward, active, listening
from heed.model import Model, wrap
from heed.probe import LastRow, LastRowMass, LayerKey, PrefixCache, check, read, trace
from heed.probe.layers import layers_of
from heed.text.encode import Encoded
from heed.text.span import TokenSpan

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
         "num_key_value_heads": 2, "num_hidden_layers": 4, "max_position_embeddings": 128}  # fmt: skip


def llama(seed: int = 0, **more) -> Model:
    torch.manual_seed(seed)
    return wrap(LlamaForCausalLM(LlamaConfig(**SMALL | more)).eval(), name=f"llama-{seed}")


@pytest.fixture(scope="module")
def model() -> Model:
    return llama()


def prompt(length: int, seed: int = 1) -> Encoded:
    ids = np.random.default_rng(seed).integers(3, 60, length).astype(np.int64)
    return Encoded(ids=ids, offsets=np.zeros((length, 2), dtype=np.int64), text="")


def after(head: Encoded, length: int, seed: int) -> Encoded:
    tail = prompt(length, seed).ids
    ids = np.concatenate([head.ids, tail])
    return Encoded(ids=ids, offsets=np.zeros((len(ids), 2), dtype=np.int64), text="")


def test_the_pass_ends_after_the_deepest_wanted_layer(model) -> None:
    layers_of(model)  # finds them by a pass of its own
    ran = []
    hooks = [
        layer.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, layer in enumerate(model.hf.model.layers)
    ]
    shallow = read(model, [prompt(9)], {"row": LastRow()}, layers=[LayerKey("decoder", 1)])
    for hook in hooks:
        hook.remove()
    assert ran == [0]  # layer 1 is left before its own end
    full = read(model, [prompt(9)], {"row": LastRow()})
    np.testing.assert_array_equal(shallow.stack("row")[0, 0], full.stack("row")[0, 1])


def test_the_language_model_head_is_not_run(model) -> None:
    def explode(*_):
        raise AssertionError

    hook = model.hf.lm_head.register_forward_hook(explode)
    read(model, [prompt(9)], {"row": LastRow()})
    trace(model, prompt(9))
    hook.remove()


def test_threads_on_the_same_and_on_other_models(model) -> None:
    """Readings side by side equal readings one after the other; the models end as they began."""
    models = [model, llama(7), model, llama(8)]
    wanted = [read(m, [prompt(40, i)], {"row": LastRow()}).stack("row") for i, m in enumerate(models)]
    got: dict[tuple[int, int], np.ndarray] = {}

    def work(place: int, turn: int) -> None:
        got[place, turn] = read(models[place], [prompt(40, place)], {"row": LastRow()}).stack("row")

    threads = [threading.Thread(target=work, args=(place, turn)) for turn in range(5) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 20
    for (place, _), values in got.items():
        np.testing.assert_allclose(values, wanted[place], atol=1e-6)
    assert {m.hf.config._attn_implementation for m in models} == {"sdpa"}


def test_a_switch_between_readings_is_kept(model) -> None:
    first = read(model, [prompt(9)], {"row": LastRow()}).stack("row")
    model.hf.set_attn_implementation("eager")
    again = read(model, [prompt(9)], {"row": LastRow()}).stack("row")
    assert model.hf.config._attn_implementation == "eager"
    model.hf.set_attn_implementation("sdpa")
    np.testing.assert_array_equal(first, again)


def test_a_forward_of_the_same_model_in_another_thread_is_right_while_it_is_read(model) -> None:
    """The switch is seen by everybody who runs the model meanwhile: unread, they must get the right output."""
    ids = torch.from_numpy(prompt(12).ids)[None]
    with torch.no_grad():
        wanted = model.hf(ids).logits
    heard, result = [], {}

    def outsider() -> None:
        with torch.no_grad():
            result["logits"] = model.hf(ids).logits

    modules = frozenset(layers_of(model).modules.values())
    with listening(model.hf, heard.append, modules=modules):
        thread = threading.Thread(target=outsider)
        thread.start()
        thread.join()
    assert not heard
    torch.testing.assert_close(result["logits"], wanted, rtol=1e-5, atol=1e-6)
    assert active() is None


def test_stopping_never_escapes_a_session(model) -> None:
    modules = layers_of(model).modules
    last = modules[LayerKey("decoder", 2)]
    with listening(model.hf, lambda call: None, modules=frozenset(modules.values()), last=last):
        model.hf(torch.from_numpy(prompt(5).ids)[None])
        pytest.fail("the pass should have ended")
    assert issubclass(StopForward, Exception)


def test_prefix_cache_reads_the_same_and_reuses_the_longest_common_beginning(model) -> None:
    head = prompt(24, seed=5)
    texts = [after(head, n, seed=n) for n in (3, 9, 1, 30)]
    spans = [[TokenSpan(0, 24), TokenSpan(24, len(text))] for text in texts]
    cache = PrefixCache()
    probes = {"mass": LastRowMass(), "row": LastRow()}
    for text, span in zip(texts, spans, strict=True):
        plain = read(model, [text], probes, spans=[span])
        cached = read(model, [text], probes, spans=[span], prefix=cache)
        np.testing.assert_allclose(cached.stack("mass"), plain.stack("mass"), atol=2e-6)
        np.testing.assert_allclose(cached.stack("row"), plain.stack("row"), atol=2e-6)
    assert cached.reused_tokens == 24
    together = read(model, texts, probes, spans=spans, prefix=cache)
    apart = read(model, texts, probes, spans=spans)
    assert together.reused_tokens == 24
    np.testing.assert_allclose(together.stack("mass"), apart.stack("mass"), atol=2e-6)


def test_prefix_cache_serves_deeper_readings_anew(model) -> None:
    head, cache = prompt(20, seed=5), PrefixCache()
    for n in (4, 5, 6):
        read(model, [after(head, n, n)], {"row": LastRow()}, prefix=cache, layers=[LayerKey("decoder", 1)])
    deep = read(model, [after(head, 7, 7)], {"row": LastRow()}, prefix=cache)
    plain = read(model, [after(head, 7, 7)], {"row": LastRow()})
    np.testing.assert_allclose(deep.stack("row"), plain.stack("row"), atol=2e-6)


def test_prefix_cache_leaves_short_beginnings_and_forgets_old_ones(model) -> None:
    cache = PrefixCache(size=2)
    for n in (3, 4, 5):
        assert read(model, [after(prompt(8), n, n)], {"row": LastRow()}, prefix=cache).reused_tokens == 0
    for seed in (20, 21, 22, 23):
        for n in (3, 4):
            read(model, [after(prompt(20, seed), n, n)], {"row": LastRow()}, prefix=cache)
    assert len(cache._kept) == 2


def test_a_short_beginning_of_a_long_prompt_is_not_worth_keeping(model) -> None:
    """Regression: behind 40 kept tokens a check of 2,048 took 1.3 times as long as without."""
    cache = PrefixCache()
    for n in (90, 91, 92):
        assert read(model, [after(prompt(20), n, n)], {"row": LastRow()}, prefix=cache).reused_tokens == 0
    assert not cache._kept


def test_prefix_cache_is_not_used_where_layers_forget() -> None:
    torch.manual_seed(0)
    hf = MistralForCausalLM(MistralConfig(**SMALL, sliding_window=6)).eval()
    mistral, cache = wrap(hf), PrefixCache()
    for n in (3, 4, 5):
        assert read(mistral, [after(prompt(20), n, n)], {"row": LastRow()}, prefix=cache).reused_tokens == 0


def test_a_prompt_longer_than_the_context_is_refused(model) -> None:
    with pytest.raises(TooLongError, match=r"at most 128 tokens .*found 129"):
        read(model, [prompt(129)], {"row": LastRow()})
    with pytest.raises(TooLongError, match="found 130"):
        trace(model, prompt(120), new_tokens=10)


def test_training_mode_is_refused() -> None:
    model = llama()
    model.hf.train()
    with pytest.raises(UnsupportedModelError, match=r"call model.eval\(\)"):
        read(model, [prompt(5)], {"row": LastRow()})


def test_an_empty_prompt_is_refused(model) -> None:
    with pytest.raises(InputError, match="at least one token"):
        read(model, [prompt(0)], {"row": LastRow()})
    with pytest.raises(InputError, match="at least one token"):
        trace(model, [])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_is_a_typed_error_and_leaves_the_model_whole(model, error) -> None:
    def explode(*_):
        raise error

    with pytest.raises(OutOfMemoryError, match="use a shorter text"):
        read(model, [prompt(5)], {"boom": explode})
    assert model.hf.config._attn_implementation == "sdpa"


def test_an_argument_heed_does_not_know_is_refused(model) -> None:
    modules = frozenset(layers_of(model).modules.values())
    with (
        pytest.raises(UnsupportedModelError, match=r"found block_indices from LlamaAttention"),
        listening(model.hf, lambda call: None, modules=modules),
    ):
        model.hf(torch.from_numpy(prompt(5).ids)[None], block_indices=torch.zeros(1))
    assert model.hf.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("shape", ["bool", "float"])
def test_a_mask_of_the_callers_own_is_obeyed(model, shape) -> None:
    """Four-dimensional masks reach the layers as they are: a prefix that all rows see, and a hole."""
    n = 12
    pattern = torch.ones(n, n).tril().bool()
    pattern[:, :4] = True
    pattern[9, 6] = False
    given = pattern if shape == "bool" else torch.zeros(n, n).masked_fill(~pattern, torch.finfo(torch.float32).min)
    views = {}
    ids = torch.from_numpy(prompt(n).ids)[None]
    modules = {module: key for key, module in layers_of(model).modules.items()}
    with (
        torch.no_grad(),
        listening(model.hf, lambda c: views.update({modules[c.module]: c}), modules=frozenset(modules)),
    ):
        model.hf(ids, attention_mask=given[None, None])
    model.hf.set_attn_implementation("eager")
    additive = torch.zeros(n, n).masked_fill(~pattern, torch.finfo(torch.float32).min)
    with torch.no_grad():
        maps = model.hf(ids, attention_mask=additive[None, None], output_attentions=True).attentions
    model.hf.set_attn_implementation("sdpa")
    from heed.probe.view import LayerView

    for key, attention in zip(layers_of(model).keys, maps, strict=True):
        call = views[key]
        rows = LayerView(key, call.q, call.k, call.terms, call.lse).rows(slice(None))
        torch.testing.assert_close(rows, attention, rtol=0, atol=1e-5)


def test_packed_prompts_do_not_see_one_another(model) -> None:
    ids = torch.from_numpy(prompt(12).ids)[None]
    position_ids = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
    calls = {}
    modules = {module: key for key, module in layers_of(model).modules.items()}
    with (
        torch.no_grad(),
        listening(model.hf, lambda c: calls.update({modules[c.module]: c}), modules=frozenset(modules)),
    ):
        model.hf.model(ids, position_ids=position_ids, use_cache=False)
    mask = calls[LayerKey("decoder", 0)].terms.mask
    assert mask.start[0].tolist() == [0] * 5 + [5] * 7
    assert mask.end[0].tolist() == list(range(1, 13))


def test_check_proves_a_reading(model) -> None:
    report = check(model)
    assert report.exact
    assert report.difference < 1e-6
    assert report.layers == 4
    low = check(wrap(LlamaForCausalLM(LlamaConfig(**SMALL)).eval().to(torch.bfloat16)))
    assert low.exact
    assert low.dtype == "bfloat16"


def test_check_fails_on_a_wrong_reading(model, monkeypatch) -> None:
    from heed.attention.score import DotScore

    true = DotScore.logits
    monkeypatch.setattr(DotScore, "logits", lambda self, q, k: true(self, q, k) * 1.01)
    assert not check(model).exact


@pytest.mark.parametrize("name", ["falcon", "mpt", "bloom", "gptj"])
def test_families_that_bypass_the_interface_are_refused(name, caplog) -> None:
    import transformers as tf

    configs = {
        "falcon": lambda: tf.FalconConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
        "mpt": lambda: tf.MptConfig(vocab_size=64, d_model=32, n_layers=2, n_heads=4),
        "bloom": lambda: tf.BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4),
        "gptj": lambda: tf.GPTJConfig(vocab_size=64, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf = tf.AutoModelForCausalLM.from_config(configs[name]()).eval()
    before = hf.config._attn_implementation
    caplog.clear()
    with pytest.raises(UnsupportedModelError, match=f"attends through transformers' AttentionInterface.*{name}"):
        read(wrap(hf), [prompt(5)], {"row": LastRow()})
    assert hf.config._attn_implementation == before
    assert not caplog.records


def test_differential_attention_calls_twice_and_is_refused() -> None:
    import transformers as tf

    hf = tf.DiffLlamaForCausalLM(tf.DiffLlamaConfig(**SMALL)).eval()
    with pytest.raises(UnsupportedModelError, match=r"one attention call a layer, found two"):
        read(wrap(hf), [prompt(5)], {"row": LastRow()})


def test_state_space_models_are_refused() -> None:
    import transformers as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf = tf.MambaForCausalLM(tf.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2)).eval()
    with pytest.raises(UnsupportedModelError, match="softmax attention"):
        read(wrap(hf), [prompt(5)], {"row": LastRow()})
