"""What this machine can do at all, by the barest means: no client can be faster than its share of these.

`put PATH KEY LANES`: the file by sendfile, in pieces of 16 MiB as PUTs of their own over so many connections, at once.
`get KEY PATH`: one GET, received into one buffer again and again, and thrown away.
`dd PATH PATH`: `dd` to a new file. `copy MIB`: memory to memory, both touched before. `tiny COUNT KEY`: one PUT each.
Requests carry no signature, for the sink looks at none. Over TLS the file is sent from a mapping, for there is no
sendfile.
"""

from __future__ import annotations

import http.client
import mmap
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse

from tests.bench.peers.staged import one_by_one, timed

_PIECE = 16 << 20
_MIB = 1 << 20


def connect() -> http.client.HTTPConnection:
    """A connection to the server of the environment."""
    place = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
        made: http.client.HTTPConnection = http.client.HTTPSConnection(str(place.hostname), place.port, context=context)
    else:
        made = http.client.HTTPConnection(str(place.hostname), place.port)
    made.connect()
    assert made.sock is not None
    made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def put(path: str, key: str, lanes: int) -> None:
    size = os.path.getsize(path)
    connections = [connect() for _ in range(lanes)]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:

        def lane(number: int) -> None:
            connection = connections[number]
            for start in range(number * _PIECE, size, lanes * _PIECE):
                length = min(_PIECE, size - start)
                connection.putrequest("PUT", f"/{key}-{start}")
                connection.putheader("Content-Length", str(length))
                connection.endheaders()
                line = connection.sock
                if isinstance(line, ssl.SSLSocket):
                    with memoryview(mapped)[start : start + length] as view:
                        line.sendall(view)
                else:
                    at = start
                    while at < start + length:
                        at += os.sendfile(line.fileno(), file.fileno(), at, start + length - at)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200

        threads = [threading.Thread(target=lane, args=[number]) for number in range(lanes)]
        with timed():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def get(key: str) -> None:
    connection, buffer = connect(), memoryview(bytearray(4 * _MIB))
    with timed():
        connection.request("GET", f"/{key}")
        answer = connection.getresponse()
        while answer.readinto(buffer):
            pass


def dd(source: str, target: str) -> None:
    with timed():
        subprocess.run(["dd", f"if={source}", f"of={target}", "bs=4M", "status=none"], check=True)


def copy(mebibytes: int) -> None:
    source, target = mmap.mmap(-1, mebibytes * _MIB), mmap.mmap(-1, mebibytes * _MIB)
    for memory in (source, target):
        memory.write(b"\1" * len(memory))
    with memoryview(source) as data, memoryview(target) as room, timed():
        room[:] = data


def tiny(count: int, key: str) -> None:
    connection, content = connect(), b"step=41".ljust(64)

    def act(number: int) -> None:
        connection.request("PUT", f"/{key}-{number}", body=content)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200

    with timed() as report:
        report.update(one_by_one(count, act))


def main(verb: str, *arguments: str) -> None:
    match verb, arguments:
        case "put", (path, key, lanes):
            put(path, key, int(lanes))
        case "get", (key, *_):
            get(key)
        case "dd", (source, target):
            dd(source, target)
        case "copy", (mebibytes, *_):
            copy(int(mebibytes))
        case "tiny", (count, key):
            tiny(int(count), key)
        case _:
            raise SystemExit(f"limits: don't know {verb} {arguments}")


if __name__ == "__main__":
    main(*sys.argv[1:])
