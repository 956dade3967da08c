"""When a server is asked whether it checks checksums, and how long its answer counts."""

from __future__ import annotations

from collections.abc import Callable

from waypost.backends.checksums import BELIEVED_SECONDS, WORTH_ASKING, Belief, Known

PACK = 25 << 20
ENOUGH = WORTH_ASKING // PACK + 2
"""Packs, of which the last is reason to ask."""


class Asked:
    """A server, a clock, and what is done in the background, which is done when the test says."""

    def __init__(self, *, checks: bool) -> None:
        self.checks, self.now, self.times = checks, 1000.0, 0
        self.waiting: list[Callable[[], None]] = []
        self.belief = Belief(self.ask, lambda: self.now, self.waiting.append)

    def ask(self) -> bool:
        self.times += 1
        return self.checks

    def send(self, packs: int = 1) -> list[bool]:
        return [self.belief.holds_for(PACK) for _ in range(packs)]

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop()()


def test_who_sends_little_never_asks() -> None:
    server = Asked(checks=True)
    assert not any(server.belief.holds_for(WORTH_ASKING // 10) for _ in range(10))
    assert server.waiting == []


def test_who_is_about_to_send_much_asks_at_once() -> None:
    server = Asked(checks=True)
    server.belief.expect(WORTH_ASKING - 1)
    assert server.waiting == []
    server.belief.expect(WORTH_ASKING)
    server.belief.expect(WORTH_ASKING)
    server.work()
    assert server.send() == [True]
    server.belief.expect(WORTH_ASKING)
    assert server.waiting == [], "it is known"
    assert server.times == 1


def test_packs_are_signed_until_the_answer_is_there_and_wait_for_nothing() -> None:
    server = Asked(checks=True)
    assert server.send(20) == [False] * 20
    assert len(server.waiting) == 1, "asked once, however many packs go meanwhile"
    server.work()
    assert server.send(3) == [True] * 3
    assert server.times == 1


def test_a_server_that_takes_damage_gets_signed_packs_and_is_not_asked_at_each() -> None:
    server = Asked(checks=False)
    for _ in range(10):
        assert server.send(4) == [False] * 4
        server.work()
    assert server.times == 1


def test_no_answer_outlasts_its_time() -> None:
    """The server may have been replaced by one that checks nothing."""
    server = Asked(checks=True)
    server.send(ENOUGH)
    server.work()
    server.now += BELIEVED_SECONDS - 1
    assert server.send() == [True]
    server.checks = False
    server.now += 1
    assert server.send(2) == [False, False], "while it is asked again, too"
    server.work()
    assert server.send() == [False]
    server.checks = True
    server.now += BELIEVED_SECONDS
    server.send()
    server.work()
    assert server.send() == [True]


def test_the_time_of_an_answer_counts_from_the_question() -> None:
    server = Asked(checks=True)
    server.send(ENOUGH)
    question = server.waiting.pop()

    def slow() -> bool:
        server.now += BELIEVED_SECONDS / 2
        return True

    server.belief._ask = slow
    question()
    server.now += BELIEVED_SECONDS / 2
    assert server.send() == [False]


def test_a_refusal_ends_the_belief_for_as_long_as_an_answer_counts() -> None:
    server = Asked(checks=True)
    server.send(ENOUGH)
    server.work()
    server.belief.doubt()
    assert server.send() == [False]
    assert server.waiting == []
    server.now += BELIEVED_SECONDS
    server.send()
    server.work()
    assert server.send() == [True]


def test_where_no_thread_starts_packs_stay_signed() -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    belief = Belief(lambda: True, lambda: 0.0, refuse)
    assert not any(belief.holds_for(PACK) for _ in range(10))


def test_amazon_is_believed_until_it_refuses() -> None:
    """A bucket's policy may ask for signed bodies."""
    amazon = Known()
    assert amazon.holds_for(PACK)
    amazon.doubt()
    assert not amazon.holds_for(PACK)
