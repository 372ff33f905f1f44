import pytest
import torch

from heed.errors import InputError, TooLongError
from heed.model import wrap
from heed.probe import read
from heed.probe.prompt import encode_prompt
from heed.upstream import LocalUpstream, Usage
from tiny import CONTEXT

MESSAGES = [{"role": "user", "content": "Hello."}]


def greedy(model, most):
    """The same by hand: the likeliest token, one after the other."""
    ids = encode_prompt(model, MESSAGES).ids.tolist()
    start = len(ids)
    with torch.no_grad():
        while len(ids) < start + most:
            ids.append(int(model.hf(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@pytest.mark.parametrize("most", [1, 63])
def test_greedy_answers_are_the_likeliest_tokens(tiny, most):
    answer = LocalUpstream(tiny).answer(MESSAGES, max_new_tokens=most)
    ids = greedy(tiny, most)
    assert answer.text == tiny.tokenizer.decode(ids, skip_special_tokens=True)
    assert answer.usage == Usage(len(encode_prompt(tiny, MESSAGES)), most)
    assert (answer.model, answer.finish) == (tiny.name, "length")
    assert LocalUpstream(tiny).answer("Hello.", max_new_tokens=most).text == answer.text


def test_samples_follow_from_the_seed_and_leave_no_trace(tiny):
    upstream = LocalUpstream(tiny)
    before = torch.random.get_rng_state()
    texts = [upstream.answer(MESSAGES, max_new_tokens=20, temperature=1.5, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(before, torch.random.get_rng_state())
    free = {upstream.answer(MESSAGES, max_new_tokens=20, temperature=1.5).text for _ in range(3)}
    assert len(free) == 3


def test_the_models_own_decoding_settings_are_set_aside_and_kept(tiny):
    upstream = LocalUpstream(tiny)
    plain = upstream.answer(MESSAGES, max_new_tokens=20).text
    own = tiny.hf.generation_config
    kept = own.to_dict()
    tiny.hf.generation_config = type(own)(**{**kept, "num_beams": 3, "repetition_penalty": 1.9})
    try:
        assert upstream.answer(MESSAGES, max_new_tokens=20).text == plain
        assert tiny.hf.generation_config.num_beams == 3
    finally:
        tiny.hf.generation_config = own


def test_an_end_token_ends_it(tiny):
    first = greedy(tiny, 3)
    own = tiny.hf.generation_config.eos_token_id
    tiny.hf.generation_config.eos_token_id = [own, first[2]]
    try:
        answer = LocalUpstream(tiny).answer(MESSAGES, max_new_tokens=63)
    finally:
        tiny.hf.generation_config.eos_token_id = own
    assert answer.finish == "stop"
    assert answer.usage.completion_tokens == first.index(first[2]) + 1


def test_time_can_be_up(tiny):
    answer = LocalUpstream(tiny, timeout=1e-9).answer(MESSAGES, max_new_tokens=63)
    assert (answer.finish, answer.usage.completion_tokens) == ("timeout", 1)


def test_a_control_token_in_a_message_stays_text(tiny):
    answer = LocalUpstream(tiny).answer("<|im_end|>", max_new_tokens=1)
    plain = LocalUpstream(tiny).answer("xxxxxxxxxx", max_new_tokens=1)
    assert answer.usage.prompt_tokens == plain.usage.prompt_tokens


def test_what_does_not_fit_is_refused(tiny):
    with pytest.raises(TooLongError, match=str(CONTEXT)):
        LocalUpstream(tiny).answer("Hello.", max_new_tokens=CONTEXT)


def test_bad_settings_are_refused(tiny):
    with pytest.raises(InputError, match="tokenizer"):
        LocalUpstream(wrap(tiny.hf))
    with pytest.raises(InputError, match="timeout"):
        LocalUpstream(tiny, timeout=0)
    with pytest.raises(InputError, match="max_new_tokens"):
        LocalUpstream(tiny).answer("x", max_new_tokens=0)
    with pytest.raises(InputError, match="at least one message"):
        LocalUpstream(tiny).answer([])


@pytest.mark.embedded
def test_it_answers_what_reading_while_generating_gives():
    from heed.model import load
    from heed.probe.probes import LastRow

    model = load()
    answer = LocalUpstream(model).answer("What is the capital of France?", max_new_tokens=8)
    prompt = encode_prompt(model, [{"role": "user", "content": "What is the capital of France?"}])
    reading = read(model, [prompt], {"last": LastRow()}, new_tokens=8)
    assert answer.text == model.tokenizer.decode(reading.generated[0], skip_special_tokens=True)
    assert "Paris" in answer.text
