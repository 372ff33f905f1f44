"""Where a run lies: ``OUT/<model>/<task>/``, a few files for each range of examples, one folder for each example."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from heed.errors import JobError
from heed.jobs.lines import Record
from heed.jobs.manifest import manifest_path, read_manifest
from heed.jobs.output import storing, sync_folder

_SUFFIX = ".samples.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one range of examples of a run; ``part`` is such as ``0-10``."""

    folder: Path
    task: str
    part: str

    @property
    def samples(self) -> Path:
        """One line for each example, only ever appended to."""
        return self._file(_SUFFIX)

    @property
    def log(self) -> Path:
        """The same for people."""
        return self._file(".log")

    @property
    def results(self) -> Path:
        """Settings, summary and grades of a finished range."""
        return self._file(".json")

    @property
    def attention(self) -> Path:
        """The folder of the examples' folders."""
        return self.folder / "top_k"

    def backups(self) -> set[Path]:
        """The samples of earlier runs that were set aside."""
        named = re.compile(re.escape(self.samples.name) + r"\.bak\d*")
        return {path for path in self.samples.parent.glob("*.bak*") if named.fullmatch(path.name)}

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.task}_{self.part}{suffix}"


def place_of(out: Path, model: str, task: str, part: str) -> Place:
    """The place of a run under ``out``; of a model given as a path the last name counts."""
    name = Path(model).name if Path(model).exists() else model
    return Place(out / (re.sub(r"[^\w.-]+", "_", name).strip("._") or "model") / task, task, part)


def parts_of(folder: Path) -> list[Place]:
    """The ranges that a run's folder holds, by their first examples."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.glob(f"*{_SUFFIX}"):
        task, _, part = path.name.removesuffix(_SUFFIX).rpartition("_")
        found.append(Place(folder, task, part))
    return sorted(found, key=lambda place: [int(digits) for digits in re.findall(r"\d+", place.part)])


def runs_under(out: Path) -> list[Path]:
    """The folders of all runs at or below ``out``."""
    return sorted({path.parent for path in out.rglob(f"*{_SUFFIX}")}) if out.is_dir() else []


def attention_of(backup: Path) -> Path:
    """Where the artefacts of samples lie that were set aside."""
    return backup.with_name(backup.name + ".top_k")


def set_aside(place: Place, backup: Path, folders: Iterable[str]) -> None:
    """Move the results and the examples' folders (by name) of a range to the backup of its samples.

    Raises
    ------
    JobError
        If they cannot be moved.
    """
    target = attention_of(backup)
    with storing(target):
        if place.results.exists():
            place.results.replace(backup.with_name(backup.name + ".json"))
        for folder in filter(Path.is_dir, (place.attention / name for name in folders)):
            target.mkdir(exist_ok=True)
            folder.replace(target / folder.name)
        sync_folder(place.folder)


def check_alike(place: Place, config: Record) -> None:
    """Refuse a range whose settings differ from those of the other ranges in its folder: they share `top_k`.

    Raises
    ------
    JobError
        If they differ; the message names how.
    """
    for other in parts_of(place.folder):
        if other.part == place.part:
            continue
        found = read_manifest(other.samples)
        if found is None:
            continue
        differing = sorted(key for key in {*config, *found.config} if config.get(key) != found.config.get(key))
        if differing:
            raise JobError(
                f"expected the settings of {manifest_path(other.samples)}, found others ({', '.join(differing)}): "
                "ranges of one run must be alike, choose another --out"
            )
