import socket
import sys
from time import perf_counter

import pytest

from heed.errors import (
    ExtraMissingError,
    InputError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from heed.text.message import Message
from heed.upstream import OpenAIUpstream, Usage
from upstream.conftest import Reply, completion

KEY = "sk-very-secret"
SOON = {"retry-after-ms": "1"}

pytest.importorskip("openai", reason="the extra `openai` is not installed")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in ("HEED_UPSTREAM_URL", "HEED_UPSTREAM_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "not-for-you")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def upstream(server):
    def make(**more):
        return OpenAIUpstream("big-model", **({"base_url": server.url, "api_key": KEY, "timeout": 5.0} | more))

    return make


def test_a_server_answers(server, upstream):
    answer = upstream().answer("Rains it?", max_new_tokens=63, temperature=0.5, seed=3)
    assert (answer.text, answer.model, answer.usage, answer.finish) == ("Ja.", "big-model-2026", Usage(7, 2), "stop")
    assert answer.seconds > 0
    assert answer.record()["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}
    assert server.asked == [
        {
            "path": "/v1/chat/completions",
            "model": "big-model",
            "messages": [{"role": "user", "content": "Rains it?"}],
            "max_tokens": 63,
            "temperature": 0.5,
            "seed": 3,
        }
    ]


def test_messages_keep_their_form(server, upstream):
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Rains it?"}], "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "Yes.", "tool_call_id": "1"},
    ]
    upstream().answer(messages)
    assert server.asked[0]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Rains it?", "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "Yes.", "tool_call_id": "1"},
    ]
    upstream().answer([Message.of("user", "Hello.")])
    assert server.asked[1]["messages"] == [{"role": "user", "content": "Hello."}]


def test_address_and_key_come_from_the_settings(server, monkeypatch):
    monkeypatch.setenv("HEED_UPSTREAM_URL", server.url)
    monkeypatch.setenv("HEED_UPSTREAM_KEY", KEY)
    OpenAIUpstream("m").answer("Hello.")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_the_key_of_one_address_is_not_sent_to_another_nor_what_is_meant_for_openai(server, monkeypatch):
    monkeypatch.setenv("HEED_UPSTREAM_URL", "https://elsewhere.example/v1")
    monkeypatch.setenv("HEED_UPSTREAM_KEY", KEY)
    OpenAIUpstream("m", base_url=server.url).answer("Hello.")
    assert "authorization" not in server.headers[0]
    assert not [value for value in server.headers[0].values() if KEY in value or "not-for-you" in value]


def test_a_wrong_key_is_a_refusal_and_the_key_stays_unsaid(server, upstream):
    server.replies = [Reply(401, {"error": {"message": f"Incorrect API key: {KEY}\nsecond line"}})]
    said = r"found status 401: Incorrect API key: \*\*\*; .*HEED_UPSTREAM_KEY"
    with pytest.raises(UpstreamDeniedError, match=said) as caught:
        upstream().answer("Hello.")
    assert isinstance(caught.value, UpstreamRefusedError)
    assert len(server.asked) == 1
    assert KEY not in repr(upstream())


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, UpstreamRefusedError), (403, UpstreamDeniedError), (404, UpstreamDeniedError), (422, UpstreamRefusedError)],
)
def test_what_every_request_would_meet_is_told_from_what_one_meets(server, upstream, status, kind):
    server.replies = [Reply(status, {"error": {"message": "no"}})]
    with pytest.raises(UpstreamRefusedError, match=f"status {status}: no") as caught:
        upstream().answer("Hello.")
    assert type(caught.value) is kind


REASONS = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


def test_a_model_that_wants_another_name_for_the_most_tokens_gets_it_from_then_on(server, upstream):
    server.replies = [Reply(400, {"error": {"message": REASONS}}), Reply(200, completion())]
    asking = upstream()
    assert [asking.answer("Hello.", max_new_tokens=63).text for _ in range(2)] == ["Ja.", "Ja."]
    sent = [{name: one[name] for name in one if name.startswith("max_")} for one in server.asked]
    assert sent == [{"max_tokens": 63}, {"max_completion_tokens": 63}, {"max_completion_tokens": 63}]


def test_too_many_tokens_are_no_question_of_names(server, upstream):
    server.replies = [Reply(400, {"error": {"message": "max_tokens is too large: 9000"}})]
    asking = upstream()
    for _ in range(2):
        with pytest.raises(UpstreamRefusedError, match="status 400: max_tokens is too large"):
            asking.answer("Hello.")
    assert [("max_tokens" in one) for one in server.asked] == [True, False, True, False]
    server.replies = [Reply(400, {"error": {"message": "bad words"}})]
    with pytest.raises(UpstreamRefusedError, match="bad words"):
        asking.answer("Hello.")
    assert len(server.asked) == 5


def test_a_limit_is_that_of_the_whole_answer(server, upstream):
    server.replies = [Reply(200, completion(), seconds=30.0)]
    began = perf_counter()
    with pytest.raises(UpstreamTimeoutError, match=r"within 0\.3 s"):
        upstream(limit=0.3).answer("Hello.")
    assert perf_counter() - began < 2.0
    assert len(server.asked) == 1
    server.replies = [Reply(200, completion("x" * 40), drip=0.1)]
    began = perf_counter()
    with pytest.raises(UpstreamTimeoutError, match=r"within 0\.3 s"):
        upstream(limit=0.3).answer("Hello.")
    assert 0.25 < perf_counter() - began < 2.0
    server.replies = [Reply(200, completion("Now."))]
    assert upstream(limit=5.0).answer("Hello.").text == "Now."


def test_too_many_requests_are_tried_again(server, upstream):
    busy = Reply(429, {"error": {"message": "slow down"}}, headers=SOON)
    server.replies = [busy, busy, Reply(200, completion("Now."))]
    assert upstream().answer("Hello.").text == "Now."
    assert len(server.asked) == 3
    server.replies = [busy]
    with pytest.raises(UpstreamRefusedError, match="status 429: slow down"):
        upstream(retries=1).answer("Hello.")
    assert len(server.asked) == 5


def test_a_servers_own_error_is_no_refusal(server, upstream):
    server.replies = [Reply(503, b"<html>", kind="text/html", headers=SOON)]
    with pytest.raises(UpstreamError, match="status 503") as caught:
        upstream(retries=1).answer("Hello.")
    assert type(caught.value) is UpstreamError
    assert len(server.asked) == 2


def test_a_slow_server_is_a_timeout(server, upstream):
    server.replies = [Reply(200, completion(), seconds=30.0)]
    with pytest.raises(UpstreamTimeoutError, match="big-model at http"):
        upstream(timeout=0.2, retries=0).answer("Hello.")


def test_a_closed_port_is_unreachable(upstream):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UpstreamUnreachableError, match=f"127.0.0.1:{port}"):
        upstream(base_url=f"http://127.0.0.1:{port}/v1", retries=0).answer("Hello.")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b'{"choices": [{"mess'),
        Reply(200, b"<html>hello</html>", kind="text/html"),
        Reply(200, b""),
        Reply(200, {}),
        Reply(200, []),
        Reply(200, completion(choices=[])),
        Reply(200, completion(choices=None)),
        Reply(200, completion(choices=[{"index": 0, "finish_reason": "stop", "message": None}])),
        Reply(200, completion(None)),
        Reply(200, completion(63)),
    ],
)
def test_what_is_no_completion_is_said_to_be_none(server, upstream, reply):
    server.replies = [reply]
    with pytest.raises(UpstreamError, match=r"^expected a chat completion .* found .+"):
        upstream().answer("Hello.")


def test_usage_may_be_missing_and_an_answer_cut(server, upstream):
    cut = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
    server.replies = [Reply(200, completion(usage=None, model=None, choices=[cut]))]
    answer = upstream().answer("Hello.")
    assert (answer.text, answer.model, answer.usage, answer.finish) == ("", "big-model", None, "length")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"base_url": None}, "HEED_UPSTREAM_URL"),
        ({"base_url": "localhost:8000"}, "http://"),
        ({"timeout": 0}, "timeout above 0"),
        ({"retries": -1}, "retries of 0 or more"),
        ({"limit": 0}, "limit above 0"),
        ({"limit": float("nan")}, "limit above 0"),
        ({"timeout": float("inf")}, "timeout above 0"),
    ],
)
def test_bad_settings_are_refused(upstream, more, said):
    with pytest.raises(InputError, match=said):
        upstream(**more)


def test_a_model_without_a_name_is_refused(server):
    with pytest.raises(InputError, match="name of a model"):
        OpenAIUpstream(" ", base_url=server.url)


@pytest.mark.parametrize(
    ("messages", "more"),
    [([], {}), ([{"role": "chef"}], {}), ("x", {"max_new_tokens": 0}), ("x", {"temperature": float("nan")})],
)
def test_bad_input_never_reaches_the_server(server, upstream, messages, more):
    with pytest.raises(InputError):
        upstream().answer(messages, **more)
    assert server.asked == []


def test_without_the_sdk_the_extra_is_named(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ExtraMissingError, match=r"heed\[openai\]"):
        OpenAIUpstream("m", base_url=server.url)
