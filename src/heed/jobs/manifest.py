"""The manifest beside an output: what the job was asked, so that a rerun continues only the same job.

``OUT.manifest.json`` holds the schema version, the configuration, the identity of the source, one SHA-256 over both,
and whether the job is finished. It stands on disk before the first answer does. The configuration is stored as it is:
keep secrets out of it. This module does not know what a configuration means.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heed.errors import JobError
from heed.jobs.lines import Record, SourceIdentity
from heed.jobs.output import write_atomically

SCHEMA = 1
"""Version of the manifest's format."""

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a job was asked and whether it is finished."""

    config: Record
    source: SourceIdentity
    finished: bool = False

    @property
    def config_sha256(self) -> str:
        """SHA-256 over the canonical JSON of the configuration and the source's SHA-256."""
        return hashlib.sha256(_canonical({"config": self.config, "source": self.source.sha256})).hexdigest()


def manifest_path(out: Path) -> Path:
    """Where the manifest of an output lies: beside it, as ``OUT.manifest.json``."""
    return out.with_name(out.name + ".manifest.json")


def plain_config(config: Mapping[str, Any]) -> Record:
    """The configuration as JSON would give it back (tuples become lists).

    Raises
    ------
    JobError
        If it holds anything JSON has no word for.
    """
    try:
        plain: Record = json.loads(_canonical(dict(config)))
    except (TypeError, ValueError) as error:
        raise JobError(f"expected a configuration of JSON values, found: {error}; fix the job") from error
    return plain


def write_manifest(out: Path, manifest: Manifest) -> None:
    """Write the manifest of an output in one step.

    Raises
    ------
    JobError
        If it cannot be written.
    """
    source = manifest.source
    value = {
        "schema": SCHEMA,
        "config_sha256": manifest.config_sha256,
        "config": manifest.config,
        "source": {"sha256": source.sha256, "size": source.size, "lines": source.lines},
        "finished": manifest.finished,
    }
    write_atomically(manifest_path(out), json.dumps(value, indent=2).encode("ascii") + b"\n")


def read_manifest(out: Path) -> Manifest | None:
    """Read the manifest of an output; None where there is none.

    Raises
    ------
    JobError
        If it is damaged or of another schema version.
    """
    path = manifest_path(out)
    try:
        value = json.loads(path.read_bytes())
        if value["schema"] != SCHEMA:
            raise JobError(
                f"expected schema {SCHEMA} in {path}, found {value['schema']!r}: another version of heed wrote it; "
                "finish the job with that version or start anew with force"
            )
        source = value["source"]
        identity = SourceIdentity(str(source["sha256"]), int(source["size"]), int(source["lines"]))
        manifest = Manifest(dict(value["config"]), identity, finished=value["finished"] is True)
        intact = manifest.config_sha256 == value["config_sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(_damaged(path, repr(error))) from error
    if not intact:
        raise JobError(_damaged(path, "a configuration that does not match its hash"))
    return manifest


def check_same_job(out: Path, *, found: Manifest, asked: Manifest) -> None:
    """Refuse to continue an output that another job began, naming every difference.

    Raises
    ------
    JobError
        If the configuration or the source differ.
    """
    if found.config_sha256 == asked.config_sha256:
        return
    differences = list(_differences("", found.config, asked.config))
    if found.source != asked.source:
        differences.append(
            f"the source (was {found.source.lines} lines, sha256 {found.source.sha256[:12]}; "
            f"is {asked.source.lines} lines, sha256 {asked.source.sha256[:12]})"
        )
    raise JobError(
        f"expected the job that began {out}, found another one; what differs: {', '.join(differences)}. "
        "Run it as it was, choose another output, or start anew with force (the old output is kept as a backup)"
    )


def _differences(prefix: str, was: Record, asked: Record) -> Iterator[str]:
    for key in sorted({*was, *asked}):
        old, new = was.get(key, _ABSENT), asked.get(key, _ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(f"{prefix}{key}.", old, new)
        elif old is _ABSENT or new is _ABSENT or _canonical(old) != _canonical(new):
            yield f"{prefix}{key} (was {_brief(old)}, is {_brief(new)})"


def _brief(value: object) -> str:
    if value is _ABSENT:
        return "not set"
    text = _canonical(value).decode("ascii")
    return text if len(text) <= 60 else text[:57] + "..."


def _canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")).encode("ascii")


def _damaged(path: Path, found: str) -> str:
    return f"expected a job's manifest in {path}, found {found}: restore the file, or start anew with force"
