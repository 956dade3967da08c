"""When a server is asked whether it checks checksums, and how long its answer counts."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from waypost.backends.checksums import BELIEVED_SECONDS, DOUBTED_SECONDS, WORTH_ASKING, Belief, Known, Questions
from waypost.store import keys

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


def test_a_small_save_behind_large_ones_does_not_begin_with_questions() -> None:
    server = Asked(checks=True)
    server.belief.holds_for(WORTH_ASKING - 1)
    server.belief.expect(PACK)
    assert server.waiting == []


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
    now = 0.0
    amazon = Known(lambda: now)
    assert amazon.holds_for(PACK)
    amazon.doubt()
    assert not amazon.holds_for(PACK)
    assert not amazon.holds()
    now += DOUBTED_SECONDS
    assert amazon.holds_for(PACK), "it is tried again: rights may have changed"


# --- The program's end ----------------------------------------------------------------------------------------------


def test_the_end_waits_for_the_request_under_way_and_lets_none_begin() -> None:
    questions, begun, answer, over = Questions(), threading.Event(), threading.Event(), list[bool]()

    def ask() -> None:
        begun.set()
        assert answer.wait(20)
        over.append(questions.are_over())

    questions.ask(ask)
    assert begun.wait(20)
    threading.Timer(0.1, answer.set).start()
    questions.end(20)
    assert over == [True], "it is waited for, and knows"
    with pytest.raises(RuntimeError):
        questions.ask(ask)


def test_the_end_waits_for_no_server_that_is_silent() -> None:
    questions, answer = Questions(), threading.Event()
    questions.ask(lambda: assert_true(answer.wait(20)))
    started = time.monotonic()
    questions.end(0.1)
    assert time.monotonic() - started < 5
    answer.set()


def assert_true(value: bool) -> None:
    assert value


class Slow(http.server.BaseHTTPRequestHandler):
    """Takes all that is put, but what is put to try it only after a while."""

    protocol_version = "HTTP/1.1"
    seen: list[str]
    tried: list[str]

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if "/probe/" in self.path:
            self.tried.append(self.path.rpartition("/")[2])
            time.sleep(0.5)
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.path = body.partition(b"<Key>")[2].partition(b"</Key>")[0].decode()
        self.command = "DELETE"
        self.answer(b"<DeleteResult/>")

    def answer(self, body: bytes = b"") -> None:
        self.seen.append(f"{self.command} {'probe' if 'probe/' in self.path else 'pack'}")
        self.send_response(200)
        self.send_header("etag", '"x"')
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def slow() -> Iterator[http.server.ThreadingHTTPServer]:
    Slow.seen, Slow.tried = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


PROGRAM = """
import time
from waypost.backends import checksums
from waypost.backends.objectstore import ObjectStoreBackend
checksums.WORTH_ASKING = 1
backend = ObjectStoreBackend("s3://bucket/store")
for number in range(2):
    backend.put(f"packs/{number}", bytes(100_000))
time.sleep(0.2)
"""


def test_a_program_that_ends_while_a_server_is_asked_leaves_nothing_of_the_question_there(
    slow: http.server.ThreadingHTTPServer,
) -> None:
    place = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{slow.server_port}", "AWS_REGION": "x"}
    who = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **place, **who}, timeout=30)
    assert done.returncode == 0
    assert Slow.seen == ["PUT pack", "PUT pack", "PUT probe", "DELETE probe"], "no damaged body was sent any more"
    assert [keys.upload_of(name) for name in Slow.tried] == [(0, 0)], "below every fence, had it been killed"
