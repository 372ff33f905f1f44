"""The model answers, greedily, and is read while it does: no second pass over the answer.

The rows of attention are those of the generated tokens themselves. What is read equals a pass over the finished
prompt, whose tokens are kept as they were generated: encoding the answer's text again might cut it otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from heed.citation.prompt import CONTEXT, RESPONSE, encode_question, row_groups
from heed.citation.question import Question
from heed.citation.reading import Heard, encode_run
from heed.errors import InputError
from heed.model import Model
from heed.probe import LastRowMass, LayerKey, Probe, Reading, read
from heed.probe.prompt import tokenizer_of
from heed.text.charmap import CharMap
from heed.text.encode import Encoded
from heed.text.message import Part
from heed.text.rendered import Landing
from heed.text.span import CharSpan, TokenSpan
from heed.text.tokenizer import FastTokenizer, backend_of


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """An answer, and what probes said of each of its tokens.

    ``prompt`` ends in the answer, whose tokens are its part ``response``. Of ``reading``, step 0 is the prompt and step
    n the row of the answer's n-th token.
    """

    response: str
    prompt: Encoded
    reading: Reading
    complete: bool
    """Whether the model ended by itself, rather than at the limit."""


def answer(model: Model, question: Question, *, max_new_tokens: int = 256) -> str:
    """What the model answers, greedily.

    Raises
    ------
    InputError
        If it answers nothing.
    TooLongError
        If prompt and answer do not fit the model's window.
    """
    prompt = encode_question(replace(question, response=None), tokenizer_of(model))
    return generate(model, prompt, max_new_tokens=max_new_tokens).response


def hear_answer(model: Model, question: Question, *, max_new_tokens: int = 256) -> tuple[Question, Heard]:
    """Let the model answer and hear it at once: the question with its answer, and what `heed.citation.reading.hear`
    would give of it, in one generation instead of a generation and a pass.

    Raises
    ------
    InputError
        If the model answers nothing, or attention is not finite.
    TooLongError
        If prompt and answer do not fit the model's window.
    """  # noqa: D205
    asked = replace(question, response=None)
    prompt, facts = encode_run(model, asked, (0, len(asked.units)))
    spans = [prompt.part(CONTEXT), *facts]
    made = generate(model, prompt, {"mass": LastRowMass()}, spans=spans, max_new_tokens=max_new_tokens)
    answered = replace(question, response=made.response)
    groups, sentences = row_groups(made.prompt, answered, response=True)
    steps = range(1, len(made.reading.steps))
    mass = np.concatenate([made.reading.stack("mass", step) for step in steps])  # Q L H S
    if not made.reading.finite.all() or not np.isfinite(mass).all():
        raise InputError(f"expected finite attention of {model.name}, found NaN or infinity: its weights overflow")
    mean = np.stack([mass[group.shift(-len(prompt)).slice()].mean(0) for group in groups])
    sizes = [np.array([len(span) for span in own]) for own in (groups, facts)]
    return answered, Heard(mean[..., 1:], mean[..., 0], sizes[0], sizes[1], tuple(sentences), 1)


def generate(
    model: Model,
    prompt: Encoded,
    probes: Mapping[str, Probe] | None = None,
    *,
    spans: Sequence[TokenSpan] = (),
    layers: Sequence[LayerKey] | None = None,
    max_new_tokens: int = 256,
) -> Generated:
    """Answer a rendered prompt greedily and keep what the probes say of the prompt and of every token of the answer.

    One token more than is wanted is generated, because only then the last one of the answer has been read.

    Parameters
    ----------
    spans
        Tokens of the prompt that mass probes sum over.
    layers
        Which layers to probe, by default all.
    max_new_tokens
        Most tokens of the answer.

    Raises
    ------
    InputError
        If no token is asked for, or the model answers nothing.
    TooLongError
        If prompt and answer do not fit the model's window.
    """
    if max_new_tokens < 1:
        raise InputError(f"expected at least one token of answer, found max_new_tokens={max_new_tokens}")
    reading = read(model, [prompt], probes or {}, layers=layers, spans=[spans], new_tokens=max_new_tokens + 1)
    assert reading.generated is not None
    ids = reading.generated[0]
    pieces, response = _pieces(tokenizer_of(model), ids[:-1])
    if not response.strip():
        raise InputError(f"expected an answer of {model.name}, found none: give a response, or look from the question")
    return Generated(response, _with_answer(prompt, ids[:-1], pieces, response), reading, int(ids[-1]) in _ends(model))


def _pieces(tokenizer: FastTokenizer, ids: Int[np.ndarray, " N"]) -> tuple[Int[np.ndarray, "N 2"], str]:
    """The characters each token stands for, and the text; tokens that spell one character together share it."""
    from tokenizers.decoders import DecodeStream

    stream, backend = DecodeStream(skip_special_tokens=True), backend_of(tokenizer)
    control = {number for number, token in backend.get_added_tokens_decoder().items() if token.special}
    offsets, text, open_tokens = np.zeros((len(ids), 2), dtype=np.int64), "", 0
    for place, token in enumerate(ids.tolist()):
        offsets[place] = len(text)
        if token in control:
            open_tokens = 0
            continue
        chunk = stream.step(backend, token)
        if chunk is None:
            open_tokens += 1
            continue
        offsets[place - open_tokens : place + 1, 1] = len(text) + len(chunk)
        text, open_tokens = text + chunk, 0
    return offsets, text


def _with_answer(prompt: Encoded, ids: Int[np.ndarray, " N"], pieces: Int[np.ndarray, "N 2"], response: str) -> Encoded:
    assert prompt.rendered is not None
    start = len(prompt.text)
    landing = Landing(
        Part(response, name=RESPONSE), 1, CharSpan(start, start + len(response)), CharMap.identity(len(response))
    )
    text = prompt.text + response
    rendered = replace(prompt.rendered, text=text, landings=(*prompt.rendered.landings, landing))
    return Encoded(np.concatenate([prompt.ids, ids]), np.concatenate([prompt.offsets, pieces + start]), text, rendered)


def _ends(model: Model) -> tuple[int, ...]:
    config = model.hf.generation_config
    found = None if config is None else config.eos_token_id
    return tuple(found) if isinstance(found, list) else () if found is None else (int(found),)
