"""What failed is done again: the samples of an earlier run come in, the same file with some of them replaced goes out.

The file is replaced in one step after each example, so a crash loses at most the one in flight.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from heed.errors import JobError
from heed.evaluation.runs.runner import Runner
from heed.evaluation.runs.samples import read_samples
from heed.jobs import BadLine, Item, Progress, Record
from heed.jobs.lines import identify, open_source, read_lines
from heed.jobs.manifest import Manifest
from heed.jobs.output import encode_record, storing, write_atomically
from heed.jobs.place import earlier_manifest, prepare_place
from heed.jobs.run import ITEM_ERRORS


def retry(
    runner: Runner,
    source: Iterable[bytes],
    *,
    stop_on_error: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Ask again where there is no answer, read again where reading failed; give how many samples that were.

    An answer that the time cut short is an answer. What else the range lacks is left to the run itself.

    Raises
    ------
    JobError
        If the samples belong to a run of other settings, are damaged or in use, or cannot be written; with
        ``stop_on_error`` at an example that gets no answer again.
    """
    place = runner.place
    with prepare_place(place.samples, None), open_source(source) as file:
        if earlier_manifest(place.samples, Manifest(runner.config, identify(file)), resume=True) is None:
            return 0
        items = [item for item in read_lines(file) if isinstance(item, Item)]
        samples = read_samples(place.samples) if place.samples.exists() else []
        again = [at for at, sample in enumerate(samples[: len(items)]) if _failed(sample)]
        failed = 0
        for count, at in enumerate(again, 1):
            samples[at] = _again(runner, items[at], samples[at])
            failed += _failed(samples[at])
            _replace(place.samples, place.results, samples)
            if stop_on_error and samples[at]["response"] is None:
                raise JobError(f"stopped: {samples[at]['error']}. Run again without stopping at errors to go on")
            if progress is not None:
                progress(Progress(count, len(again), failed))
    return len(again)


def _failed(sample: Record) -> bool:
    attention = sample["attention"]
    return sample["response"] is None or (attention is not None and attention["status"] == "failed")


def _again(runner: Runner, item: Item, sample: Record) -> Record:
    if sample["response"] is not None:
        return runner.read_again(item, sample)
    try:
        return runner.work([item])[0]
    except ITEM_ERRORS as error:
        return runner.failed(BadLine(item.line, error, item.record))


def _replace(path: Path, results: Path, samples: Iterable[Record]) -> None:
    """Write the samples anew; results of other samples go, the run writes them again at its end."""
    with storing(results):
        results.unlink(missing_ok=True)
    write_atomically(path, b"".join(map(encode_record, samples)))
