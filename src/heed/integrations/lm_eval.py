"""A model for the lm-evaluation-harness that keeps, beside every generated answer, what the answer rests on.

It answers as the harness's own ``hf`` model does, and reads each prompt with its answer once more. In a shell::

    python -m heed.integrations.lm_eval run --model heed --model_args pretrained=embedded,out=heed-runs/squad \
        --tasks my_task --include_path tasks --device cpu

`OUT/<task>/citations.jsonl` gets a line for each answer, `OUT/<task>/top_k/example_0000/` the files of `heed run`.
"""

import copy
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed import __version__
from heed.errors import InputError
from heed.evaluation.runs.artefacts import folder_name, write_artefacts
from heed.evaluation.runs.example import Example, Prompt
from heed.evaluation.runs.reader import Analysis, Reader
from heed.extras import require
from heed.integrations.conversation import Turn, find_context, split_prompt
from heed.jobs.output import open_output
from heed.model import load, wrap

if TYPE_CHECKING:
    from heed.jobs.lines import Record
    from heed.model import Model
    from heed.text.span import CharSpan

_registry: Any = require("lm_eval.api.registry", extra="lm-eval")
_HFLM: Any = require("lm_eval.models.huggingface", extra="lm-eval").HFLM

CITATIONS = "citations.jsonl"


@_registry.register_model("heed")
class HeedLM(_HFLM):
    """The harness's Hugging Face model upon a model of `heed.load`, with citations.

    The context of a prompt is the document's field ``context`` (a text, or the list of its facts) where it has one;
    else all but the last paragraph, or what stands before the line "Question:". A document's field ``gold`` (numbers of
    facts) goes into the files. A prompt written by the chat template (``--apply_chat_template``) is read through it,
    with its last user turn alone; another one is read as plain text.

    Parameters
    ----------
    pretrained
        What `heed.load` takes, or a loaded transformers model (then with ``tokenizer``).
    out
        A folder for the citations, new or empty.
    method, top
        As for `heed.cite`.
    context, gold
        Names of the document's fields.
    dtype, device
        As for `heed.load`.
    settings
        Further arguments of ``HFLM``, such as ``batch_size`` and ``max_length``.

    Raises
    ------
    InputError
        If the folder is not empty, or there is more than one process.
    HeedError
        As `heed.load`.
    """

    def __init__(
        self,
        pretrained: Any = "embedded",
        *,
        out: str | Path = "heed-lm-eval",
        method: str = "learned",
        top: int = 10,
        context: str = "context",
        gold: str = "gold",
        dtype: Any = "auto",
        device: str | None = None,
        tokenizer: Any = None,
        **settings: Any,
    ) -> None:
        self._out = _empty(Path(out))
        if isinstance(pretrained, str):
            model = load(pretrained, dtype=dtype, device=device)
        else:
            model = wrap(pretrained, tokenizer)
        super().__init__(pretrained=model.hf, tokenizer=model.tokenizer, **settings)
        if self.world_size > 1:
            raise InputError(f"expected one process to write into {out}, found {self.world_size}: start it plainly")
        self._reader = {
            "chat": Reader(model, method, top=top),
            "plain": Reader(_without_template(model), method, top=top),
        }
        self._fields = (context, gold)
        self._chats: dict[str, str] = {}
        self._seen: Counter[tuple[str, int]] = Counter()

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As the harness does; the last user turn is remembered, so that it can be read through the template, too."""
        text = str(super().apply_chat_template(chat_history, add_generation_prompt))
        self._chats[text] = next(turn["content"] for turn in reversed(chat_history) if turn["role"] == "user")
        return text

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer, then read each prompt with its answer and write what was found; the answers are the harness's own.

        Raises
        ------
        JobError
            If a citation cannot be written.
        """
        answers: list[str] = super().generate_until(requests, disable_tqdm)
        tasks = dict.fromkeys(str(request.task_name) for request in requests)
        for task in tasks:
            own = [(one, said) for one, said in zip(requests, answers, strict=True) if str(one.task_name) == task]
            folder = self._out / (re.sub(r"[^\w.-]+", "_", task).strip("._") or "task")
            folder.mkdir(parents=True, exist_ok=True)
            with open_output(folder / CITATIONS) as lines:
                for record in self._records(folder, own):
                    lines.append([record])
        return answers

    def _records(self, folder: Path, answered: Sequence[tuple[Any, str]]) -> "Iterator[Record]":
        for request, response in answered:
            number = int(request.doc_id)
            self._seen[folder.name, number] += 1
            again = self._seen[folder.name, number]
            place = folder / "top_k" / (folder_name(number) + (f"_{again}" if again > 1 else ""))
            yield self._record(place, request, number, response)

    def _record(self, place: Path, request: Any, number: int, response: str) -> "Record":
        text = str(request.args[0])
        form = "chat" if text in self._chats else "plain"
        reader = self._reader[form]
        about = {"task": str(request.task_name), "heed": __version__, "read_by": {**reader.settings, "form": form}}
        try:
            prompt, example = self._asked(self._chats.get(text, text), request.doc, number)
            analysis = reader.read(prompt, example, response)
        except InputError as error:
            example, analysis = Example(number, str(number), "", text, ""), Analysis("no_context", str(error))
        write_artefacts(place, example, response, analysis, about)
        return {
            "doc_id": number,
            "folder": str(place.relative_to(place.parents[1])),
            "prompt": text,
            "context": example.context,
            "response": response,
            "gold": None if example.gold is None else list(example.gold),
            "status": analysis.status,
            "reason": analysis.reason,
            **about,
            "citation": None if analysis.citation is None else analysis.citation.record(),
            "seconds": analysis.seconds,
        }

    def _asked(self, text: str, doc: Mapping[str, Any], number: int) -> tuple[Prompt, Example]:
        """The prompt taken apart, as what a run of heed's own would have made of it."""
        context, gold = (doc.get(name) for name in self._fields)
        units: tuple[CharSpan, ...] | None = None
        if context is None:
            prompt = Prompt("", *split_prompt(text))
        else:
            piece, units = find_context([Turn("user", text)], context)
            prompt = Prompt(text[: piece.span.start], text[piece.span.slice()], text[piece.span.end :].strip())
        wanted = tuple(gold) if isinstance(gold, list) and all(isinstance(one, int) for one in gold) else None
        return prompt, Example(number, str(number), prompt.context, prompt.after, "", units=units, gold=wanted)


def _empty(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"expected a new or an empty folder for citations, found {out} in use: give another out=…")
    return out


def _without_template(model: "Model") -> "Model":
    """The same model, but messages are plain text to it."""
    tokenizer = copy.copy(model.tokenizer)
    if tokenizer is not None:
        tokenizer.chat_template = None
    return wrap(model.hf, tokenizer, name=model.name)


if __name__ == "__main__":
    require("lm_eval.__main__", extra="lm-eval").cli_evaluate()
