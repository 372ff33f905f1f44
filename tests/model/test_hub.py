import httpx2
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from heed.errors import ModelError, ModelNotFoundError
from heed.model.hub import hub_folder


def answer(kind, status):
    request = httpx2.Request("GET", "http://hub")
    return kind("the hub says so", response=httpx2.Response(status, request=request))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that fails as told, then succeeds; counts how often it was asked."""
    asked = []

    def install(*errors):
        def snapshot_download(name, **kwargs):
            asked.append(name)
            if len(asked) <= len(errors):
                raise errors[len(asked) - 1]
            return str(tmp_path)

        monkeypatch.setattr("heed.model.hub.snapshot_download", snapshot_download)
        return asked

    return install


def test_found_at_once(hub, tmp_path):
    asked = hub()
    assert hub_folder("a/b") == tmp_path
    assert asked == ["a/b"]


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("no route"),
        ConnectionError("reset"),
        TimeoutError("slow"),
        httpx2.ReadTimeout("slow"),
        answer(HfHubHTTPError, 503),
        answer(HfHubHTTPError, 429),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(getattr(error, 'response', None), 'status_code', '')}",
)
def test_network_errors_are_tried_again(hub, tmp_path, error):
    asked = hub(error, error)
    assert hub_folder("a/b", retries=2, wait_s=0) == tmp_path
    assert len(asked) == 3


def test_tries_are_bounded(hub):
    asked = hub(*[ConnectionError("no route to host\nmore lines")] * 9)
    with pytest.raises(ModelNotFoundError, match=r"cannot be reached \(tries: 3; no route to host\): go online"):
        hub_folder("a/b", retries=2, wait_s=0)
    assert len(asked) == 3


def test_each_failed_try_is_logged_and_the_wait_doubles(hub, monkeypatch, caplog):
    waited = []
    monkeypatch.setattr("heed.model.hub.time.sleep", waited.append)
    hub(ConnectionError("reset"), TimeoutError("slow"))
    hub_folder("a/b", retries=2, wait_s=0.5)
    assert waited == [0.5, 1.0]
    found = [(record.attempt, record.tries, record.wait_s, record.model) for record in caplog.records]
    assert found == [(1, 3, 0.5, "a/b"), (2, 3, 1.0, "a/b")]


@pytest.mark.parametrize(
    ("error", "kind", "match"),
    [
        (answer(RepositoryNotFoundError, 404), ModelNotFoundError, "check the name"),
        (answer(GatedRepoError, 403), ModelError, "gated: accept its terms"),
        (answer(HfHubHTTPError, 403), ModelError, "check name and access"),
        (OfflineModeIsEnabled("offline"), ModelNotFoundError, "HF_HUB_OFFLINE"),
    ],
    ids=["unknown", "gated", "forbidden", "offline"],
)
def test_final_answers_are_not_tried_again(hub, error, kind, match):
    asked = hub(error, error)
    with pytest.raises(kind, match=match):
        hub_folder("a/b", wait_s=0)
    assert len(asked) == 1


def test_offline_mode_as_the_hub_wraps_it(hub):
    error = LocalEntryNotFoundError("nothing in the cache")
    error.__cause__ = OfflineModeIsEnabled("offline")
    asked = hub(error)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        hub_folder("a/b", wait_s=0)
    assert len(asked) == 1


def test_a_mistake_of_ours_is_not_called_a_network_error(hub):
    hub(TypeError("bug"))
    with pytest.raises(TypeError, match="bug"):
        hub_folder("a/b", wait_s=0)


@pytest.mark.parametrize("name", ["a/b/c", "a b", "--x"])
def test_names_no_hub_takes(name):
    with pytest.raises(ModelNotFoundError, match=r"found .*check the name"):
        hub_folder(name)


def test_negative_retries():
    with pytest.raises(ValueError, match="expected retries >= 0"):
        hub_folder("a/b", retries=-1)
