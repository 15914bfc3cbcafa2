"""Money: estimates, a limit that is never crossed, partial results that are kept, sums that survive."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread

import pytest

from superalign.models.errors import ModelError
from superalign.models.remote import Kept, Price, Purse, RemoteSpeaker, SpendingLimit, Terms, estimate
from superalign.models.remote.prices import price_of
from superalign.models.remote.refusals import Fault
from superalign.models.remote.spending import FRAME, read_bound, read_estimate
from superalign.models.speaker import Ask, Turn
from superalign.models.speakers import speaker_at

PRICE = Price(read=1.0, written=10.0, source="terms")


def asks(n: int) -> list[Ask]:
    return [Ask(messages=(Turn("user", f"question {i:03}"),), tokens=100) for i in range(n)]


class Paid:
    """A line whose answers bill so many tokens; None: what becomes of the request is unknown."""

    identity, form = "paid", "openai"

    def __init__(self, read: int | None = 10, written: int = 5) -> None:
        self.read, self.written, self.asked = read, written, list[Ask]()

    def send(self, ask: Ask) -> bytes:
        self.asked.append(ask)
        if self.read is None:
            raise Fault("timeout", billed=True)
        usage = {"prompt_tokens": self.read, "completion_tokens": self.written}
        message = {"content": ask.messages[0].content}
        return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()

    def close(self) -> None:
        pass


def speaker(line: Paid, folder: Path, limit: float | None, **named: object) -> RemoteSpeaker:
    terms = Terms(concurrency=4, backoff=0.0, limit_usd=limit, **named)  # type: ignore[arg-type]
    return RemoteSpeaker(line, terms=terms, kept=Kept(folder), price=PRICE)


def test_an_estimate_comes_before_the_first_call_and_knows_what_is_kept(tmp_path: Path) -> None:
    line = Paid()
    speaking = speaker(line, tmp_path, None)
    told = speaking.estimate([*asks(10), *asks(3)])
    assert not line.asked
    assert (told.asked, told.kept, told.read, told.written) == (13, 3, 10 * (4 + FRAME), 1000)
    assert told.usd == pytest.approx((200 + 10 * 1000) / 1e6)
    speaking.ask(asks(4))
    assert speaking.estimate(asks(10)).kept == 4
    speaking.close()
    assert estimate(asks(1), price=None).usd is None


@pytest.mark.parametrize("text", ["", "plain words", "日本語のテキスト", "🙂🙂", "x" * 1000])
def test_the_bound_holds_for_a_tokenizer_of_bytes(text: str) -> None:
    ask = Ask(messages=(Turn("user", text),), tokens=1)
    assert read_bound(ask) >= len(text.encode())
    assert read_estimate(ask) >= len(text) / 3


def test_the_limit_is_not_crossed_and_a_second_run_goes_on(tmp_path: Path) -> None:
    line = Paid(read=20, written=90)
    one = (20 + 900) / 1e6
    worst = PRICE.of(read_bound(asks(1)[0]), 100)
    limit = 10.5 * one + worst
    first = speaker(line, tmp_path, limit)
    with pytest.raises(SpendingLimit, match="raise the limit"):
        first.ask(asks(40))
    paid = first.kept.paid("paid")  # type: ignore[union-attr]
    assert paid.replies == len(line.asked) == 11, "as many as fit, though four at a time went out"
    assert paid.usd == pytest.approx(11 * one)
    assert paid.usd <= limit
    with pytest.raises(SpendingLimit):
        speaker(line, tmp_path, limit).ask(asks(40))
    assert len(line.asked) == 11, "what earlier runs spent counts"
    done = speaker(line, tmp_path, 1.0)
    replies = done.ask(asks(40))
    assert len(line.asked) == 40, "what was paid for is not asked again"
    assert [r.text for r in replies] == [a.messages[0].content for a in asks(40)]
    assert done.tally().usd == pytest.approx(29 * one)
    assert done.kept.paid("paid").usd == pytest.approx(40 * one)  # type: ignore[union-attr]


def test_requests_whose_fate_is_unknown_count_as_billed(tmp_path: Path) -> None:
    line = Paid(read=None)
    worst = PRICE.of(read_bound(asks(1)[0]), 100)
    speaking = speaker(line, tmp_path, 5.5 * worst, retries=0)
    with pytest.raises(SpendingLimit):
        speaking.ask(asks(20))
    assert len(line.asked) == 5
    paid = speaking.kept.paid("paid")  # type: ignore[union-attr]
    assert (paid.replies, paid.lost) == (0, 5)
    assert paid.usd == pytest.approx(5 * worst)


def test_answers_without_counted_tokens_are_booked_at_the_most_they_can_cost(tmp_path: Path) -> None:
    speaking = speaker(Paid(read=0, written=0), tmp_path, 1.0)
    speaking.ask(asks(3))
    assert speaking.tally().usd == pytest.approx(3 * PRICE.of(read_bound(asks(1)[0]), 100))


def test_a_limit_without_a_price_is_an_error_that_names_the_options() -> None:
    with pytest.raises(ModelError, match="price_in and price_out"):
        speaker_at("http://127.0.0.1:9/v1#m", terms=Terms(limit_usd=1.0))
    speaker_at("http://127.0.0.1:9/v1#m", terms=Terms(limit_usd=1.0, price_in=0.0, price_out=0.0))


def test_two_speakers_share_a_purse(tmp_path: Path) -> None:
    purse, lines = Purse(limit_usd=0.0101), [Paid(read=0, written=100), Paid(read=0, written=100)]
    speakers = [RemoteSpeaker(line, terms=Terms(), purse=purse, price=PRICE) for line in lines]
    speakers[0].ask(asks(5))
    with pytest.raises(SpendingLimit):
        speakers[1].ask(asks(20))
    assert sum(len(line.asked) for line in lines) == 10
    assert purse.spent <= 0.0101


def test_whoever_waits_for_money_goes_on_when_a_request_turns_out_cheap() -> None:
    purse, came = Purse(limit_usd=1.0), list[str]()
    purse.reserve(0.8)
    thread = Thread(target=lambda: (purse.reserve(0.8), came.append("second")))
    thread.start()
    thread.join(0.05)
    assert not came
    purse.settle(0.8, 0.1)
    thread.join(10)
    assert came == ["second"]
    purse.settle(0.8, 0.8)
    with pytest.raises(SpendingLimit, match=r"spent 0\.9000 of 1\.0000 USD"):
        purse.reserve(0.2)


def test_prices_come_from_the_terms_or_from_inspect() -> None:
    assert price_of(Terms()) is None
    assert price_of(Terms(price_in=2, price_out=3)) == Price(read=2, written=3, source="terms")
    inspect_model = pytest.importorskip("inspect_ai.model")
    inspect_model.set_model_info("mockllm/priced", inspect_model.ModelInfo())
    cost = inspect_model.ModelCost(input=1, output=4, input_cache_write=2, input_cache_read=0.1)
    inspect_model.set_model_cost("mockllm/priced", cost)
    model = inspect_model.get_model("mockllm/priced", memoize=False)
    assert price_of(Terms(), model) == Price(read=2, written=4, source="inspect")
    assert price_of(Terms(), inspect_model.get_model("mockllm/model", memoize=False)) is None
    assert price_of(Terms(price_in=5, price_out=6), model) == Price(read=5, written=6, source="terms")
