import json

import pytest

from heed.errors import JobError
from heed.jobs.lines import SourceIdentity
from heed.jobs.manifest import Manifest, check_same_job, manifest_path, plain_config, read_manifest, write_manifest

SOURCE = SourceIdentity("ab" * 32, 10, 3)


def test_a_manifest_comes_back(out):
    manifest = Manifest(plain_config({"model": "m", "spans": (1, 2), "text": "\ud800"}), SOURCE, finished=True)
    assert read_manifest(out) is None
    write_manifest(out, manifest)
    assert read_manifest(out) == manifest
    assert manifest_path(out).name == "out.jsonl.manifest.json"
    assert set(json.loads(manifest_path(out).read_bytes())) == {
        "schema",
        "config_sha256",
        "config",
        "source",
        "finished",
    }


def test_the_hash_does_not_depend_on_the_order_of_keys_but_on_all_else():
    base = Manifest({"a": 1, "b": 2}, SOURCE)
    assert base.config_sha256 == Manifest({"b": 2, "a": 1}, SOURCE, finished=True).config_sha256
    assert base.config_sha256 != Manifest({"a": 1, "b": 2.5}, SOURCE).config_sha256
    assert base.config_sha256 != Manifest({"a": 1, "b": 2}, SourceIdentity("cd" * 32, 10, 3)).config_sha256


def test_another_configuration_is_refused_and_every_difference_named(out):
    found = Manifest({"model": "a", "guard": {"threshold": 0.5, "rows": 1}, "old": True}, SOURCE)
    asked = Manifest({"model": "b", "guard": {"threshold": 0.6, "rows": 1}, "new": "x" * 99}, SOURCE)
    with pytest.raises(JobError) as caught:
        check_same_job(out, found=found, asked=asked)
    message = str(caught.value)
    assert 'model (was "a", is "b")' in message
    assert "guard.threshold (was 0.5, is 0.6)" in message
    assert "old (was true, is not set)" in message
    assert 'new (was not set, is "xxx' in message
    assert "rows" not in message
    assert "the source" not in message
    assert "start anew with force" in message


def test_a_changed_source_is_named(out):
    asked = Manifest({}, SourceIdentity("cd" * 32, 12, 4))
    with pytest.raises(JobError, match=r"the source \(was 3 lines, sha256 abababababab; is 4 lines, sha256 cdcd"):
        check_same_job(out, found=Manifest({}, SOURCE), asked=asked)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff", b"3"])
def test_a_damaged_manifest_is_refused(out, content):
    manifest_path(out).write_bytes(content)
    with pytest.raises(JobError, match=r"expected a job's manifest in .*start anew with force"):
        read_manifest(out)


def test_a_manifest_that_was_edited_or_of_another_version_is_refused(out):
    write_manifest(out, Manifest({"model": "a"}, SOURCE))
    path = manifest_path(out)
    text = path.read_text()
    path.write_text(text.replace('"model": "a"', '"model": "b"'))
    with pytest.raises(JobError, match="a configuration that does not match its hash"):
        read_manifest(out)
    path.write_text(text.replace('"schema": 1', '"schema": 2'))
    with pytest.raises(JobError, match=r"expected schema 1 in .*, found 2"):
        read_manifest(out)


def test_a_configuration_that_is_not_json_is_the_jobs_mistake():
    with pytest.raises(JobError, match="expected a configuration of JSON values, found: Object of type bytes"):
        plain_config({"a": b""})
    with pytest.raises(JobError, match="expected a configuration of JSON values"):
        plain_config({"a": float("inf")})
