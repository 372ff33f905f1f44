"""The exported page in a real browser, opened as a file."""

import pytest

import heed
from viewing import SCENE, reload, walk


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "picture.html"
    heed.show(SCENE).html(path)
    return path.as_uri()


def test_everything_works_without_a_request(viewer, exported) -> None:
    walk(viewer.open(exported))
    assert viewer.requests == [exported]
    reload(viewer)
    assert [url.partition("#")[0] for url in viewer.requests] == [exported, exported]
