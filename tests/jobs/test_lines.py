import io
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import RecordError
from heed.jobs.lines import BadLine, Item, identify, open_source, parse_line, read_lines


def read(content, skip=0):
    return list(read_lines(io.BytesIO(content), skip=skip))


def test_numbers_count_blank_lines_but_blank_lines_are_not_read():
    assert read(b'{"a": 1}\n\n  \t\r\n{"a": 2}') == [Item(1, {"a": 1}), Item(4, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a": 1}\r\n', {"a": 1}),
        (b'{"a": 1, "a": 2}\n', {"a": 2}),
        (b'{"a": "\\ud800"}\n', {"a": "\ud800"}),
        (b'{"a": "' + b"x" * 3_000_000 + b'"}\n', {"a": "x" * 3_000_000}),
        ('{"a": "\u2028"}\n'.encode(), {"a": "\u2028"}),
    ],
    ids=["crlf", "duplicate", "surrogate", "long", "separator"],
)
def test_a_line_that_holds_an_object_is_an_item(line, record):
    assert parse_line(7, line) == Item(7, record)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": "\xff"}', "line 7, found a byte that is not UTF-8 at byte 8"),
        (b'{"a": 1', "line 7, found invalid JSON at character 8"),
        (b"[1]", "line 7, found JSON of type list"),
        (b"null", "line 7, found JSON of type NoneType"),
        (b'{"a": NaN}', "line 7, found a value that cannot be used: NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a value that cannot be used: Exceeds the limit"),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
        (b'\xef\xbb\xbf{"a": 1}', "invalid JSON at character 1"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_bad_line_that_says_why(line, reason):
    bad = parse_line(7, line)
    assert isinstance(bad, BadLine)
    assert bad.line == 7
    assert bad.record is None
    assert isinstance(bad.error, RecordError)
    assert reason in bad.reason
    assert "expected a JSON object" in bad.reason


def test_a_reason_can_always_be_written_as_utf8():
    assert BadLine(1, RecordError("found \ud800")).reason == "found \\ud800"


def test_a_byte_order_mark_at_the_start_is_skipped():
    assert read(b'\xef\xbb\xbf{"a": 1}\n') == [Item(1, {"a": 1})]
    assert read(b'\xef\xbb\xbf\n{"a": 1}\n') == [Item(2, {"a": 1})]


@given(st.lists(st.sampled_from([b"", b" ", b"{}", b"x", b'{"a": 1}', b"\xff", b"\r", b"\xef\xbb\xbf"])), st.booleans())
def test_what_identify_counts_is_what_is_read_and_skipping_is_a_suffix(lines, ended):
    file = io.BytesIO(b"\n".join(lines) + b"\n" * ended)
    everything = list(read_lines(file))
    assert identify(file).lines == len(everything)
    for skip in range(len(everything) + 1):
        assert [line.line for line in read_lines(file, skip=skip)] == [line.line for line in everything[skip:]]


@given(st.binary())
def test_no_bytes_crash_the_reader(content):
    file = io.BytesIO(content)
    assert identify(file).lines == len(list(read_lines(file)))
    assert identify(file).size == len(content)


def test_blocks_and_pipes_are_read_like_files(tmp_path):
    content = b'{"a": 1}\n{"a": 2}\n'
    path, pipe = tmp_path / "in.jsonl", tmp_path / "pipe"
    path.write_bytes(content)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    identities = []
    for source in (path, pipe, iter([content[:4], content[4:]])):
        with open_source(source) as file:
            identities.append(identify(file))
            assert [item.record for item in read_lines(file)] == [{"a": 1}, {"a": 2}]
    writer.join()
    assert len(set(identities)) == 1


def test_a_source_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"expected a file of JSON lines at .*none\.jsonl, found none: check"):
        open_source(tmp_path / "none.jsonl")
    with pytest.raises(RecordError, match=r"found the folder .*: name a file in it"):
        open_source(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"expected to read .*: Not a directory"):
        open_source(tmp_path / "file" / "in.jsonl")
