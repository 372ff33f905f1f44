import pytest
import torch
import transformers as tr

from heed.errors import UnsupportedModelError
from heed.model.anatomy import read_anatomy

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 50}
GROUPED = {**SMALL, "num_key_value_heads": 2}


def build(auto, config):
    with torch.device("meta"):
        return auto.from_config(config)


def causal(config):
    return read_anatomy(build(tr.AutoModelForCausalLM, config))


def test_llama(llama):
    found = read_anatomy(llama)
    assert (found.family, found.layers, found.heads, found.kv_heads) == ("llama", 3, 4, 2)
    assert (found.head_width, found.context) == (16, 63)
    assert found.windows == (None, None, None)
    assert found.attention_layers == (0, 1, 2)
    assert (found.encoder_decoder, found.encoder_layers) == (False, 0)


def test_gpt2_names_its_numbers_otherwise():
    found = causal(
        tr.GPT2Config(n_layer=3, n_head=4, n_embd=32, n_positions=77, vocab_size=50, bos_token_id=1, eos_token_id=2)
    )
    assert (found.layers, found.heads, found.kv_heads, found.head_width, found.context) == (3, 4, 4, 8, 77)


def test_one_window_for_all_layers():
    found = causal(tr.MistralConfig(**GROUPED, sliding_window=7))
    assert found.windows == (7, 7, 7, 7)
    assert set(found.kinds) == {"sliding_attention"}


def test_a_window_in_every_other_layer():
    kinds = ["sliding_attention", "full_attention"] * 2
    found = causal(tr.Gemma2Config(**GROUPED, head_dim=16, sliding_window=9, layer_types=kinds))
    assert found.windows == (9, None, 9, None)
    assert found.head_width == 16


def test_qwen_with_its_window_switched_off_has_none():
    assert causal(tr.Qwen2Config(**GROUPED, use_sliding_window=False)).windows == (None,) * 4


def test_chunks_are_told_from_windows():
    config = tr.Llama4TextConfig(
        **GROUPED,
        head_dim=8,
        intermediate_size_mlp=32,
        attention_chunk_size=11,
        num_local_experts=2,
        layer_types=["chunked_attention"] * 3 + ["full_attention"],
    )
    found = causal(config)
    assert found.windows == (11, 11, 11, None)
    assert found.kinds[0] == "chunked_attention"


def test_linear_layers_hold_no_softmax():
    config = tr.Qwen3NextConfig(
        **GROUPED,
        head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        layer_types=["linear_attention", "full_attention"] * 2,
        num_experts=2,
        num_experts_per_tok=1,
    )
    found = causal(config)
    assert found.attention_layers == (1, 3)
    assert found.layers == 4


def test_latent_attention_counts_both_parts_of_a_key():
    config = tr.DeepseekV3Config(**SMALL, num_key_value_heads=4, qk_nope_head_dim=12, qk_rope_head_dim=4)
    assert causal(config).head_width == 16


def test_t5_decoder_and_encoder_differ():
    config = tr.T5Config(num_layers=2, num_decoder_layers=5, num_heads=4, d_kv=6, d_model=32, d_ff=32, vocab_size=50)
    found = read_anatomy(build(tr.AutoModelForSeq2SeqLM, config))
    assert (found.layers, found.encoder_layers, found.head_width) == (5, 2, 6)
    assert found.context is None
    assert found.encoder_decoder


def test_bart_decoder_and_encoder_differ():
    config = tr.BartConfig(
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        d_model=32,
        vocab_size=50,
        max_position_embeddings=99,
    )
    found = read_anatomy(build(tr.AutoModelForSeq2SeqLM, config))
    assert (found.layers, found.encoder_layers, found.heads, found.context) == (3, 2, 4, 99)


def test_encoder_only():
    found = read_anatomy(build(tr.AutoModel, tr.BertConfig(**SMALL)))
    assert (found.family, found.layers, found.context, found.encoder_decoder) == ("bert", 4, 512, False)


def test_roberta_loses_the_first_positions():
    config = tr.RobertaConfig(**SMALL, max_position_embeddings=514, pad_token_id=1)
    assert read_anatomy(build(tr.AutoModel, config)).context == 512


def test_multi_query():
    config = tr.GPTBigCodeConfig(n_layer=2, n_head=4, n_embd=32, vocab_size=50, bos_token_id=1, eos_token_id=2)
    assert causal(config).kv_heads == 1


def test_the_text_part_of_a_multimodal_model():
    text = {**GROUPED, "head_dim": 8, "sliding_window": 5}
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    found = read_anatomy(build(tr.AutoModelForImageTextToText, tr.Gemma3Config(text_config=text, vision_config=vision)))
    assert (found.layers, found.heads, found.kv_heads) == (4, 4, 2)


def test_no_attention_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"expected num_attention_heads .* mamba, found none"):
        causal(tr.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=50, bos_token_id=1, eos_token_id=2))


def test_layers_built_unlike_are_refused(llama):
    vars(llama.config)["num_attention_heads"] = [4, 2, 4]
    with pytest.raises(UnsupportedModelError, match=r"one positive number, found \[4, 2, 4\]"):
        read_anatomy(llama)
