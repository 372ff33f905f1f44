import pytest
import torch

from heed.errors import BrokenModelError, UnsupportedModelError
from heed.model.gguf import load_gguf


def test_weights_and_tokenizer_come_back(gguf_file, llama):
    hf, tokenizer = load_gguf(gguf_file, dtype=torch.float32)
    assert not hf.training
    assert all(torch.equal(a, b) for a, b in zip(hf.parameters(), llama.parameters(), strict=True))
    assert hf.config.max_position_embeddings == 63
    assert tokenizer.decode(tokenizer("heed me").input_ids) == "heed me"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False).startswith("<|im_start|>")


def test_what_it_computes_is_what_was_saved(gguf_file, llama):
    hf, _ = load_gguf(gguf_file, dtype=torch.float32)
    ids = torch.arange(33)[None]
    torch.testing.assert_close(hf(ids).logits, llama(ids).logits)


def test_tied_weights(tmp_path, make_llama, make_gguf):
    tied = make_llama(tie_word_embeddings=True)
    hf, _ = load_gguf(make_gguf(tmp_path / "tied.gguf", tied, skip="lm_head.weight"), dtype=torch.float32)
    assert hf.lm_head.weight is hf.model.embed_tokens.weight


def test_dtype(gguf_file):
    assert load_gguf(gguf_file, dtype=torch.bfloat16)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_a_cut_file(gguf_file, share):
    whole = gguf_file.read_bytes()
    gguf_file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BrokenModelError, match="expected a"):
        load_gguf(gguf_file, dtype=torch.float32)


def test_no_gguf_at_all(tmp_path):
    path = tmp_path / "no.gguf"
    path.write_bytes(b"PK\3\4 something")
    with pytest.raises(BrokenModelError, match="expected a GGUF file"):
        load_gguf(path, dtype=torch.float32)


def test_a_folder_with_the_name_of_a_file(tmp_path):
    (tmp_path / "x.gguf").mkdir()
    with pytest.raises(BrokenModelError, match="found: Is a directory"):
        load_gguf(tmp_path / "x.gguf", dtype=torch.float32)


def test_a_lost_tensor(tmp_path, llama, make_gguf):
    path = make_gguf(tmp_path / "lost.gguf", llama, skip="model.layers.1.mlp.up_proj.weight")
    with pytest.raises(BrokenModelError, match=r"found 1 missing \(model.layers.1.mlp.up_proj.weight"):
        load_gguf(path, dtype=torch.float32)


def test_no_tokenizer(tmp_path, llama, make_gguf):
    path = make_gguf(tmp_path / "bare.gguf", llama, tokenizer=False)
    with pytest.raises(BrokenModelError, match="with a tokenizer"):
        load_gguf(path, dtype=torch.float32)


def test_an_architecture_that_transformers_does_not_read(gguf_file):
    gguf_file.write_bytes(gguf_file.read_bytes().replace(b"llama", b"lxama"))
    with pytest.raises(UnsupportedModelError, match="lxama is not supported"):
        load_gguf(gguf_file, dtype=torch.float32)


def test_nothing_is_printed(gguf_file, capfd):
    load_gguf(gguf_file, dtype=torch.float32)
    assert capfd.readouterr() == ("", "")
