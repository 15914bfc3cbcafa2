"""What a server says, read: statuses and waits that it asks for, completions as replies, all else as malformed."""

from __future__ import annotations

import json

import pytest

from superalign.models.errors import ModelError
from superalign.models.remote import KeyRefused, QuotaSpent, WrongAddress
from superalign.models.remote.refusals import Fault, fault_of, seconds_of, told_by
from superalign.models.remote.replies import Malformed, heard
from superalign.models.speaker import Reply, Token


def body(content: object = "yes", **choice: object) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {
            "choices": [{"message": message, "finish_reason": "stop", **choice}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        }
    ).encode()


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (400, "This model's maximum context length is 8192 tokens", Fault("context", again=False)),
        (413, "", Fault("context", again=False)),
        (400, "flagged by our content management policy", Fault("content filter", again=False)),
        (403, "input flagged: moderation", Fault("content filter", again=False)),
        (400, "temperature: no such thing", Fault("bad request", again=False)),
        (408, "", Fault("timeout")),
        (504, "", Fault("timeout", billed=True)),
        (524, "", Fault("timeout", billed=True)),
        (409, "", Fault("server error")),
        (429, "slow down", Fault("rate limit", after=2.0)),
        (500, "", Fault("server error")),
        (503, "", Fault("server error", after=2.0)),
        (529, "overloaded", Fault("server error")),
        (401, "", KeyRefused),
        (402, "", QuotaSpent),
        (404, "no such model", WrongAddress),
        (307, "", WrongAddress),
        (429, "insufficient_quota", QuotaSpent),
        (400, "Your credit balance is too low to access the API", QuotaSpent),
    ],
)
def test_statuses(status: int, said: str, expected: Fault | type[ModelError]) -> None:
    if isinstance(expected, Fault):
        fault = fault_of(status, said, after=expected.after)
        wanted = (expected.why, expected.again, expected.after, expected.billed)
        assert (fault.why, fault.again, fault.after, fault.billed) == wanted
    else:
        with pytest.raises(expected):
            fault_of(status, said)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (body(), Reply(kind="answer", text="yes", read=5, written=2)),
        (body("ye", finish_reason="length"), Reply(kind="cut", text="ye", read=5, written=2)),
        (body("", finish_reason="content_filter"), Reply(kind="refused", why="content filter", read=5, written=2)),
        (
            body(message={"content": None, "refusal": "I can't."}),
            Reply(kind="refused", text="I can't.", why="refusal", read=5, written=2),
        ),
        (
            body([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            Reply(kind="answer", text="ab", read=5, written=2),
        ),
        (
            body(
                logprobs={
                    "content": [{"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -3}]}]
                }
            ),
            Reply(kind="answer", text="yes", read=5, written=2, tokens=(Token("yes", -0.1, (("no", -3.0),)),)),
        ),
        (body(logprobs=None), Reply(kind="answer", text="yes", read=5, written=2)),
        (b'{"error": {"message": "no", "code": "content_filter"}}', Reply(kind="refused", why="content filter")),
        (
            body("half: \ud83d, whole: \U0001f600"),
            Reply(kind="answer", text="half: \ufffd, whole: 😀", read=5, written=2),
        ),
        (
            body("\ude00", logprobs={"content": [{"token": "\ude00", "logprob": -1}]}),
            Reply(kind="answer", text="\ufffd", read=5, written=2, tokens=(Token("\ufffd", -1.0),)),
        ),
    ],
)
def test_a_completion_becomes_a_reply(raw: bytes, expected: Reply) -> None:
    assert heard("openai", raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        body(7),
        b'{"choices": [{"message": 3}]}',
        b"\xff",
    ],
)
def test_what_is_no_completion_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        heard("openai", raw)


@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"choices":' * 100_000])
def test_a_body_nested_without_end_is_malformed_and_no_crash(raw: bytes) -> None:
    with pytest.raises(Malformed):
        heard("openai", raw)
    assert fault_of(500, told_by(raw)).why == "server error"


@pytest.mark.parametrize("count", ["-1", "Infinity", "1e30", "NaN", "9" * 5000])
def test_a_count_of_tokens_that_is_none_is_malformed(count: str) -> None:
    with pytest.raises(Malformed):
        heard("openai", body().replace(b'"prompt_tokens": 5', f'"prompt_tokens": {count}'.encode()))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-2", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("soon", None),
    ],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    assert seconds_of(header, 10.0) == expected
