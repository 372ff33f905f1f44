"""Tiny models with random weights and tokenizers built in memory; nothing here needs a network."""

from pathlib import Path

import gguf
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch, request):
    """No test sees the machine's own cache and models, but those marked `embedded`."""
    if request.node.get_closest_marker("embedded"):
        return
    home = tmp_path_factory.mktemp("heed")
    monkeypatch.setenv("HEED_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("HEED_MODELS_DIR", str(home / "models"))


def alphabet() -> list[str]:
    return [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "heed"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    vocab = {token: i for i, token in enumerate(alphabet())}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[("h", "e")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", chat_template=TEMPLATE)


def tiny_llama(**settings) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        **{
            "vocab_size": len(alphabet()),
            "hidden_size": 64,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 63,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **settings,
        }
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def make_llama():
    return tiny_llama


@pytest.fixture
def make_gguf():
    return write_gguf


@pytest.fixture
def llama() -> LlamaForCausalLM:
    return tiny_llama()


@pytest.fixture
def folder(tmp_path, llama) -> Path:
    """A model folder with tokenizer."""
    path = tmp_path / "tiny"
    llama.save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


def _permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Query and key rows in the order GGUF keeps them for llama."""
    rows, width = weight.shape
    return weight.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


def write_gguf(path: Path, model: LlamaForCausalLM, *, tokenizer: bool = True, skip: str = "") -> Path:
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    if tokenizer:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(alphabet())
        writer.add_token_types([3] * len(SPECIAL) + [1] * (len(alphabet()) - len(SPECIAL)))
        writer.add_token_merges(["h e"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_pad_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        if name == skip:
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        stored = value if heads is None else _permuted(value, heads)
        writer.add_tensor(names.get_name(name.removesuffix(".weight")) + ".weight", stored.numpy().copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def gguf_file(tmp_path, llama) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", llama)
