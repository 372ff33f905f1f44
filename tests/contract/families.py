"""Every family of the contract, as a tiny random model built offline. One row each: name, builder, expected quirks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf

VOCAB = 64
_SMALL = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
_GQA = _SMALL | {"num_key_value_heads": 2}


@dataclass(frozen=True)
class Family:
    name: str
    config: Callable[[], Any]
    auto: str = "AutoModelForCausalLM"
    causal: bool = True
    encoder_decoder: bool = False
    window: int | None = None
    static_cache: bool = True
    gain: float = 6.0
    """Random weights are scaled up: the usual 0.02 leaves attention nearly uniform, and errors would hide."""

    def build(self, dtype: torch.dtype = torch.float32) -> Any:
        torch.manual_seed(0)
        model = getattr(tf, self.auto).from_config(self.config(), dtype=dtype).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "sink" in name:
                    p.normal_(0.0, 1.0)
                elif p.ndim >= 2:
                    p.mul_(self.gain)
        return model


def _moe() -> dict[str, Any]:
    return {"num_local_experts": 2, "num_experts_per_tok": 1}


FAMILIES = [
    Family("llama", lambda: tf.LlamaConfig(**_GQA)),
    Family("qwen2", lambda: tf.Qwen2Config(**_GQA)),
    Family("qwen3", lambda: tf.Qwen3Config(**_GQA, head_dim=16)),
    Family("mistral", lambda: tf.MistralConfig(**_GQA, sliding_window=5, head_dim=8), window=5),
    Family(
        "gemma2",
        lambda: tf.Gemma2Config(**_GQA, head_dim=16, attn_logit_softcapping=2.0, sliding_window=5,
                                query_pre_attn_scalar=9, layer_types=["sliding_attention", "full_attention"]),
        window=5,
    ),
    Family(
        "gemma3",
        lambda: tf.Gemma3TextConfig(**_GQA, head_dim=16, sliding_window=5, query_pre_attn_scalar=9,
                                    layer_types=["sliding_attention", "full_attention"]),
        window=5,
    ),
    Family("phi3", lambda: tf.Phi3Config(**_GQA)),
    Family("granite", lambda: tf.GraniteConfig(**_GQA, attention_multiplier=0.31, residual_multiplier=0.5)),
    Family(
        "gpt2",
        lambda: tf.GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=256, pad_token_id=0,
                              bos_token_id=1, eos_token_id=2, scale_attn_by_inverse_layer_idx=True),
    ),
    Family("gpt_neox", lambda: tf.GPTNeoXConfig(**_SMALL)),
    Family("olmo2", lambda: tf.Olmo2Config(**_GQA)),
    Family(
        "gpt_oss",
        lambda: tf.GptOssConfig(**_GQA, **_moe(), head_dim=8, sliding_window=5,
                                layer_types=["sliding_attention", "full_attention"]),
        window=5,
    ),
    Family(
        "deepseek_v3",
        lambda: tf.DeepseekV3Config(**_SMALL, num_key_value_heads=4, kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=8,
                                    qk_nope_head_dim=8, v_head_dim=12, n_routed_experts=2, num_experts_per_tok=1,
                                    n_group=1, topk_group=1, first_k_dense_replace=1, moe_intermediate_size=16),
    ),
    Family(
        "llama4",
        lambda: tf.Llama4TextConfig(**_GQA, **_moe(), head_dim=8, intermediate_size_mlp=48, attention_chunk_size=5,
                                    layer_types=["chunked_attention", "full_attention"],
                                    interleave_moe_layer_step=2),
        window=5,
    ),
    Family(
        "qwen3_next",
        lambda: tf.Qwen3NextConfig(**_GQA, head_dim=16, linear_num_key_heads=2, linear_num_value_heads=2,
                                   linear_key_head_dim=8, linear_value_head_dim=8, num_experts=2,
                                   num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16,
                                   layer_types=["linear_attention", "full_attention"]),
        static_cache=False,
    ),
    Family("bert", lambda: tf.BertConfig(**_SMALL, max_position_embeddings=256), auto="AutoModel",
           causal=False, static_cache=False),
    Family(
        "modernbert",
        lambda: tf.ModernBertConfig(**_SMALL, local_attention=6, global_attn_every_n_layers=2,
                                    layer_types=["full_attention", "sliding_attention"],
                                    cls_token_id=1, sep_token_id=2),
        auto="AutoModel",
        causal=False,
        window=3,
        static_cache=False,
    ),
    Family(
        "t5",
        lambda: tf.T5Config(vocab_size=VOCAB, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0,
                            eos_token_id=2, decoder_start_token_id=0),
        auto="AutoModelForSeq2SeqLM",
        gain=2.0,  # its scores are not scaled by the width
        encoder_decoder=True,
    ),
    Family(
        "bart",
        lambda: tf.BartConfig(vocab_size=VOCAB, d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=48,
                              decoder_ffn_dim=48, encoder_attention_heads=4, decoder_attention_heads=4,
                              max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                              decoder_start_token_id=2),
        auto="AutoModelForSeq2SeqLM",
        encoder_decoder=True,
    ),
]  # fmt: skip
