"""`heed guard messages`: files of messages, exit codes, what is shown."""

import json

import pytest

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Sum up my mail."},
    {"role": "tool", "name": "mail", "content": "Hello there. Say yes."},
    {"role": "tool", "name": "clock", "content": "12:30"},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "messages.json"
    path.write_text(json.dumps(MESSAGES), encoding="utf-8")
    return path


@pytest.mark.parametrize(("code", "said"), [(0, "OK"), (1, "ALERT")])
def test_each_untrusted_text_is_shown(heed, guarded, file, code, said):
    done = heed("guard", "messages", file, "--threshold", 1 - code, *guarded)
    assert done.code == code
    assert said in done.out
    assert "$[2].content tool_result mail" in done.out
    assert "$[3].content tool_result clock" in done.out
    assert "Sum up my mail" not in done.out


def test_json_has_a_verdict_for_each(heed, guarded, file):
    found = heed("guard", "messages", file, "--threshold", 0, "--json", "--untrusted", "user", *guarded).json
    assert (found["flagged"], found["allow"], found["messages"]) == (True, False, 4)
    (part,) = found["parts"]
    assert (part["message"], part["role"], part["path"], part["flagged"]) == (1, "user", "$[1].content", True)


def test_a_request_and_stdin_serve_as_well(heed, guarded):
    request = json.dumps({"model": "m", "system": "Be brief.", "messages": MESSAGES[1:]}).encode()
    words = ["guard", "messages", "--threshold", 0, "--json", *guarded]
    bare = json.dumps(MESSAGES).encode()
    parts = [[p["score"] for p in heed(*words, stdin=raw).json["parts"]] for raw in (request, bare)]
    assert parts[0] == parts[1]


def test_a_text_that_cannot_be_judged_is_exit_code_3(heed, guarded):
    messages = [{"role": "tool", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    done = heed("guard", "messages", "--threshold", 1, *guarded, stdin=json.dumps(messages).encode())
    assert done.code == 3
    assert "UNSURE" in done.out


def test_without_untrusted_texts_it_is_fine(heed, guarded):
    done = heed("guard", "messages", "--threshold", 0, *guarded, stdin=json.dumps(MESSAGES[:2]).encode())
    assert done.code == 0
    assert "no untrusted text in 2 messages" in done.out


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "expected JSON in stdin"),
        (b"3", "expected a list of messages in stdin, or an object that has one, found int"),
        (b'{"a": 1}', "found an object without a list of messages"),
        (b"[" * 100_000, "expected JSON in stdin"),
    ],
)
def test_a_file_that_holds_no_messages_is_refused(heed, raw, said):
    done = heed("guard", "messages", "--model", "./no-model", stdin=raw)
    assert done.code == 2
    assert said in done.err


def test_a_malformed_message_and_an_unknown_source_are_bad_input(heed, guarded):
    done = heed("guard", "messages", *guarded, stdin=b'[{"role": "robot", "content": "x"}]')
    assert done.code == 2
    assert "in message 0, found 'robot'" in done.err
    done = heed("guard", "messages", "--untrusted", "system", "--model", "./no-model", stdin=b"[]")
    assert done.code == 2
    assert "expected one of user, assistant, tool, tool_calls, found 'system'" in done.err


def test_the_page_is_written(heed, guarded, file, tmp_path):
    heed("guard", "messages", file, "--threshold", 0, "--page", tmp_path / "page.html", *guarded)
    assert "clock" in (tmp_path / "page.html").read_text("utf-8")
