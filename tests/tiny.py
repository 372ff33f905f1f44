"""A tiny model folder with a chat template, built in memory and saved: what the command line is tried on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from heed.model import Model, load
from heed.profile import LearnedProfile, Profile

LAYERS, HEADS, CONTEXT = 2, 2, 512
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, and ChatML."""
    vocab = {token: i for i, token in enumerate([*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in _SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", chat_template=_CHATML)


def tiny_folder(path: Path) -> Path:
    """A Llama of two layers with random weights, and its tokenizer, as a model folder."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def tiny_profile(path: Path, *, layers: int = LAYERS, heads: int = HEADS, model: str = "tiny") -> Path:
    """A guard profile that listens to two heads of the model of that name, as a file."""
    profile = Profile(
        task="guard",
        model=model,
        n_layers=layers,
        n_heads=heads,
        heads=np.array([[0, 1], [1, 0]]),
        weights=np.array([0.5, 0.5]),
    )
    profile.save(path)
    return path


def keen_model(path: Path) -> Model:
    """The tiny model with queries and keys thirty times as large: its attention differs from text to text."""
    folder = tiny_folder(path)
    hf = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for layer in hf.model.layers:
            layer.self_attn.q_proj.weight.mul_(30.0)
            layer.self_attn.k_proj.weight.mul_(30.0)
    hf.save_pretrained(folder)
    return load(folder, dtype="float32")


def tiny_learned(model: Model, **more: Any) -> LearnedProfile:
    """A guard profile with random weights on all heads of a model of the tiny one's shape, for windows of 60 bytes."""
    rng = np.random.default_rng(0)
    fields = {
        "task": "guard",
        "model": model.name,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "rows": (-12, -2, -1),
        "weights": {kind: rng.normal(0.0, 0.2, (3, LAYERS, HEADS, 4)) for kind in ("given", "neutral")},
        "bias": {"given": 0.25, "neutral": -0.25},
        "window": 60,
        "question": "What now?",
        "fingerprints": (model.fingerprint,),
    }
    return LearnedProfile(**fields | more)
