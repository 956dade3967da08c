"""What can go wrong between a client and its storage, each as one thing that a `FaultProxy` does to a request."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

from tests.witness.faultproxy import Answer, Exchange, Trouble


def says(status: str, code: str, message: str = "said by a test's proxy", **headers: str) -> Trouble:
    """The request never reaches the server; the client gets this S3 error. `status` is like '503 Slow Down'."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/xml"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    answer = Answer(int(status[:3]), "\r\n".join([*lines, "", ""]).encode(), b"").replaced(body.encode())

    async def trouble(exchange: Exchange) -> None:
        await exchange.answer(answer)

    return trouble


SLOW_DOWN = says("503 Slow Down", "SlowDown", "Please reduce your request rate.")
SLOW_DOWN_FOR_A_WHILE = says("503 Slow Down", "SlowDown", "Please reduce your request rate.", Retry_After="2")
TOO_MANY_REQUESTS = says("429 Too Many Requests", "TooManyRequests")
INTERNAL_ERROR = says("500 Internal Server Error", "InternalError", "We encountered an internal error.")
EXPIRED_TOKEN = says("400 Bad Request", "ExpiredToken", "The provided token has expired.")
TIME_TOO_SKEWED = says(
    "403 Forbidden",
    "RequestTimeTooSkewed",
    "The difference between the request time and the server's time is too large.",
)


def refuses_to_delete(code: str) -> Trouble:
    """A bulk delete is answered with 200, and in it every key with this error."""

    async def trouble(exchange: Exchange) -> None:
        error = f"<Error><Key>{exchange.request.key}</Key><Code>{code}</Code><Message>no</Message></Error>"
        body = f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{error}</DeleteResult>'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n"
        await exchange.answer(Answer(200, head, b"").replaced(body.encode()))

    return trouble


async def reset_before(exchange: Exchange) -> None:
    """The server never hears of it; the client sees a reset."""
    exchange.reset()


async def lose_answer(exchange: Exchange) -> None:
    """The server does it; the client sees a reset."""
    await exchange.forward()
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    """Nobody answers, and nobody hangs up."""
    await exchange.client_left()


async def hang_after(exchange: Exchange) -> None:
    """The server does it, and the answer never comes."""
    await exchange.forward()
    await exchange.client_left()


async def cut_upload(exchange: Exchange) -> None:
    """The connection breaks in the middle of the request's body."""
    await exchange.forward_cut(len(exchange.request.body) // 2)
    exchange.reset()


async def cut_download(exchange: Exchange) -> None:
    """The answer's body ends in the middle, and its head promised all of it."""
    answer = await exchange.forward()
    await exchange.answer(answer.replaced(answer.body[: len(answer.body) // 2], length=len(answer.body)))
    exchange.hang_up()


async def shorten(exchange: Exchange) -> None:
    """Half of the answer's body is missing, and its head says that this is all."""
    answer = await exchange.forward()
    await exchange.answer(answer.replaced(answer.body[: len(answer.body) // 2]))


async def corrupt(exchange: Exchange) -> None:
    """One bit of the answer's body is wrong."""
    answer = await exchange.forward()
    body = bytearray(answer.body)
    if body:
        body[len(body) // 2] ^= 1
    await exchange.answer(answer.replaced(bytes(body)))


async def deliver_twice(exchange: Exchange) -> None:
    """The network delivers the request a second time; the client hears the second answer."""
    await exchange.forward()
    await exchange.answer(await exchange.forward())


def trickle(slice_bytes: int, pause: float) -> Trouble:
    """The answer comes drop by drop, for as long as the client bears it."""

    async def trouble(exchange: Exchange) -> None:
        await exchange.answer_slowly(await exchange.forward(), slice_bytes, pause)

    return trouble


class Late:
    """The request waits in the network, whatever its client does, until the test lets the server have it."""

    def __init__(self) -> None:
        self._release = threading.Event()
        self._answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    async def __call__(self, exchange: Exchange) -> None:
        leaving = asyncio.ensure_future(exchange.client_left())
        try:
            while not self._release.is_set():
                await asyncio.sleep(0.01)
            self._answer.set_result(await exchange.forward())
        finally:
            leaving.cancel()
        exchange.reset()

    def deliver(self) -> int:
        """Let the server have it now; the status of its answer, which no client gets."""
        self._release.set()
        return self._answer.result(30).status
