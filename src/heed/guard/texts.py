"""Texts with a known label, one JSON object a line: ``{data, instruction | null, label}``.

A file comes in, pairs go out, or an error that names file and line. It does not know what they are for
(calibrating, feedback).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from heed.errors import RecordError
from heed.guard.data import MOST_CHARACTERS
from heed.jobs import Item
from heed.jobs.lines import open_source, read_lines


def read_texts(
    source: Path | Iterable[bytes], *, name: str, label: int | None = None
) -> Iterator[tuple[str | None, str, int]]:
    """Instruction, data and label of each line of a file (or of blocks of bytes), called ``name`` in errors.

    Where ``label`` is given, a line may leave it out but not differ.

    Raises
    ------
    RecordError
        With file and line, if a line does not follow the format; or if there is none.
    """
    found = False
    with open_source(source) as file:
        for line in read_lines(file):
            if not isinstance(line, Item):
                raise RecordError(f"{line.reason} (in {name})")
            found = True
            yield _text(line, f"{name}, line {line.line}", label)
    if not found:
        raise RecordError(f"expected texts as JSON lines in {name}, found none: fill the file")


def _text(item: Item, where: str, label: int | None) -> tuple[str | None, str, int]:
    data, instruction = item.record.get("data"), item.record.get("instruction")
    if not isinstance(data, str):
        raise RecordError(f"expected data as text in {where}, found {type(data).__name__}: correct the line")
    if len(data) > MOST_CHARACTERS:
        raise RecordError(
            f"expected at most {MOST_CHARACTERS:,} characters of data in {where}, found {len(data):,}: cut the text"
        )
    if instruction is not None and not isinstance(instruction, str):
        found = type(instruction).__name__
        raise RecordError(f"expected instruction as text or null in {where}, found {found}: correct the line")
    said = item.record.get("label", label)
    if type(said) is not int or said not in (0, 1):
        raise RecordError(f"expected label 0 (benign) or 1 (attack) in {where}, found {said!r}: correct the line")
    if label is not None and said != label:
        kind = "an attack" if label else "benign"
        raise RecordError(f"expected only label {label} ({kind}) here, found {said} in {where}: move the line")
    return instruction, data, said
