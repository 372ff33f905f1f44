"""What keeping attention adds to a run: the shipped task on the embedded model, and the size of long examples.

Seconds are those each sample records: answering on one side, citing, reading rows and writing files on the other.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Claim, Skip, at_most, main, pick, reported
from heed.citation.methods import method
from heed.errors import ProfileError
from heed.evaluation.runs import Asking, Reader, Task, load_task, read_run, start
from heed.evaluation.runs.example import Example
from heed.probe import PromptCache
from heed.probe.prompt import tokenizer_of
from heed.upstream import LocalUpstream
from inputs import embedded

OVERHEAD_BAR, SIZE_BAR = 0.35, 20.0
EXAMPLES, LONG_TOKENS = 10, 8000


def measure() -> list[Claim]:
    """Run the task with attention, then one example of 8,000 tokens."""
    model = embedded()
    try:
        method("learned", model)
    except ProfileError as error:
        raise Skip(str(error)) from error
    prefix = PromptCache()
    reader, upstream = Reader(model, prefix=prefix), LocalUpstream(model, prefix=prefix)
    with TemporaryDirectory() as folder:
        return [*_overhead(upstream, reader, Path(folder)), *_long(upstream, reader, Path(folder))]


def _overhead(upstream: LocalUpstream, reader: Reader, folder: Path) -> Sequence[Claim]:
    task, asking = load_task("notes"), Asking(max_new_tokens=pick(128, 4))
    start(task, upstream, folder / "warm", asking=asking, reader=reader, limit=1)
    report = start(task, upstream, folder / "run", asking=asking, reader=reader, limit=pick(EXAMPLES, 1))
    summary, samples = report.summary, read_run(report.place.folder).samples
    each = [sample["seconds"]["attention"] / sample["seconds"]["answer"] for sample in samples]
    details = {
        "examples": summary.examples,
        "seconds answering": summary.answer_seconds,
        "seconds of attention": summary.attention_seconds,
        "single examples": f"{min(each):.2f} to {max(each):.2f}",
        "tokens of the answers": ", ".join(str(sample["usage"]["completion_tokens"]) for sample in samples),
        "recall of gold facts": summary.recall,
        "dtype": reader.settings["dtype"],
    }
    return [
        at_most("attention adds to a run's time", summary.overhead or 0.0, OVERHEAD_BAR, details),
        reported("gold facts among the first five cited", (summary.recall or {"@5": 0.0})["@5"]),
    ]


def _long(upstream: LocalUpstream, reader: Reader, folder: Path) -> Sequence[Claim]:
    examples = load_task("notes").examples
    words = " ".join(one.context for one in examples) * 4
    wanted = pick(LONG_TOKENS, 300) - 400
    offsets = tokenizer_of(reader.model)(words, return_offsets_mapping=True)["offset_mapping"]
    question = "Which bridge is 64 metres long? Say what you know of it."
    long = Example(0, "long", words[: offsets[wanted][1]], question, "footbridge")
    task = Task("long", (long,), {"plain": "{input}"})
    report = start(task, upstream, folder, asking=Asking(max_new_tokens=pick(256, 4)), reader=reader)
    sample = read_run(report.place.folder).samples[0]
    details = {
        "prompt tokens": sample["usage"]["prompt_tokens"],
        "answer tokens": sample["usage"]["completion_tokens"],
        "status": sample["attention"]["status"],
        "seconds": sample["seconds"],
    }
    seconds = sample["seconds"]
    return [
        at_most(
            "files of an example of 8,000 tokens", sample["attention"]["bytes"] / 1e6, SIZE_BAR, details, unit="MB"
        ),
        reported("attention adds to the time of that example", seconds["attention"] / seconds["answer"], unit="x"),
    ]


if __name__ == "__main__":
    main(__file__, measure)
