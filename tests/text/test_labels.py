import numpy as np
import pytest

from heed.text.attention import NamedSpan
from heed.text.encode import Encoded, encode, encode_text
from heed.text.labels import Labels
from heed.text.message import Message, Part, Role, Trust
from heed.text.render import render
from tiny import tiny_tokenizer


def test_tokens_joined_are_the_text_and_bytes_of_one_character_are_told_once():
    text = "a 😀漢\n\tb <script> שלום"
    labels = Labels.of(encode_text(text, tiny_tokenizer()))
    assert "".join(labels.tokens) == text
    assert labels.tokens[2:6] == ("😀", "", "", "")


def test_tokens_without_text_get_the_tokenizers_name():
    encoded = Encoded(np.array([7, 8]), np.array([[0, 0], [0, 1]]), "x")
    assert Labels.of(encoded, names=["<s>", "x"], special=[0]).tokens == ("<s>", "x")


def test_parts_of_a_conversation_are_its_spans():
    messages = [
        Message.of(Role.SYSTEM, "Be short."),
        Message(Role.USER, (Part("Data: "), Part("Hi", Trust.UNTRUSTED))),
        Message.of(Role.ASSISTANT, "No."),
        Message.of(Role.USER, "Why?"),
    ]
    encoded = encode(render(messages, tiny_tokenizer()), tiny_tokenizer())
    labels = Labels.of(encoded, roles=[str(message.role) for message in messages])
    assert [span.name for span in labels.spans] == ["system", "user", "data", "assistant", "user 2"]
    texts = ["".join(labels.tokens[span.start : span.end]) for span in labels.spans]
    assert texts == ["Be short.", "Data: ", "Hi", "No.", "Why?"]


@pytest.mark.parametrize(("text", "count"), [("One sentence", 0), ("One. Two. Three.", 3), ("A b. " * 40, 0)])
def test_a_few_sentences_are_spans_of_a_plain_text(text, count):
    labels = Labels.of(encode_text(text, tiny_tokenizer()))
    assert len(labels.spans) == count
    assert all(before.end <= after.start for before, after in zip(labels.spans, labels.spans[1:], strict=False))


def test_what_was_generated_is_the_answer_and_all_of_it_goes_to_json_and_back():
    labels = Labels(("a", "b"), (0,)).extended(["c"], special=[2])
    assert labels.spans == (NamedSpan("answer", 2, 3),)
    assert labels.special == (0, 2)
    assert Labels.from_record(labels.record()) == labels
    assert labels.extended([]) == labels
