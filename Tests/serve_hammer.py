"""Asks `larder serve` over many connections, and prints what came of it as JSON.

reads PORT,PORT FEED SECONDS   16 connections ask for lists without a pause; one that breaks asks the
                               other port, as a load balancer would
crowd PORT FEED COUNT          so many connections stay open and silent, or dribble a request; one asks
garbage PORT FEED              what is no HTTP, or too much of it; then one asks
"""
import asyncio
import json
import os
import resource
import sys
import time

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def get(reader, writer, path):
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def ask(port, feed):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.monotonic()
    status, body = await asyncio.wait_for(get(reader, writer, f"/v1/feeds/{feed}/u1"), 120)
    writer.close()
    return status, time.monotonic() - start


async def reads(ports, feed, seconds):
    told = {"answers": 0, "lost": 0, "again": 0, "releases": {}, "statuses": {}}
    end = time.monotonic() + seconds

    async def one(number):
        connection, at = None, number
        # On a machine that is busy with more, releases may change later than that.
        while time.monotonic() < end or len(told["releases"]) < 2 and time.monotonic() < end + 60:
            for attempt in range(50):
                try:
                    if connection is None:
                        connection = await asyncio.open_connection("127.0.0.1", ports[at % len(ports)])
                    status, body = await get(*connection, f"/v1/feeds/{feed}/u{number}?k=3")
                    break
                except (OSError, asyncio.IncompleteReadError):
                    told["again"] += 1
                    connection, at = None, at + 1
                    await asyncio.sleep(0.01)
            else:
                told["lost"] += 1
                continue
            answer = json.loads(body)
            told["answers"] += 1
            told["statuses"][status] = told["statuses"].get(status, 0) + 1
            # A list names the release that it was written for.
            if status == 200:
                key = f"{answer['release']} {answer['items'][0]}"
                told["releases"][key] = told["releases"].get(key, 0) + 1

    await asyncio.gather(*(one(number) for number in range(16)))
    return told


async def crowd(port, feed, count):
    count = min(count, hard - 100)
    held = []
    for first in range(0, count, 200):
        held += await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", port) for _ in range(min(200, count - first))))
    for _, writer in held[::2]:
        writer.write(b"GET /v1/feeds/x/y HTTP/1.1\r\nHost: dribble\r\nX-Slow: ")
    slow = asyncio.create_task(dribble([writer for _, writer in held[::2]]))
    answers = [await ask(port, feed) for _ in range(20)]
    slow.cancel()
    return {"held": len(held), "statuses": [status for status, _ in answers],
            "slowest": max(seconds for _, seconds in answers)}


async def dribble(writers):
    while True:
        for writer in writers[:50]:
            writer.write(b"x")
        await asyncio.sleep(0.1)


async def garbage(port, feed):
    told = []
    for sent in [b"NONSENSE\r\n\r\n", os.urandom(4000), b"GET / HTTP/9.9\r\n\r\n",
                 b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(5000)) + b"\r\n",
                 b"POST /v1/feeds/x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                 b"POST /v1/feeds/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
                 b"POST /v1/feeds/x HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n" + b"z" * 3_000_000,
                 b"GET /v1/feeds/x/y HTTP/1.1\r\nHost: x\r\n"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            await asyncio.wait_for(writer.drain(), 10)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(100_000), 10)
        except (OSError, asyncio.TimeoutError) as error:
            answer = type(error).__name__.encode()
        told.append(answer[:12].decode(errors="replace"))
        writer.close()
    status, _ = await ask(port, feed)
    return {"told": told, "status": status}


kind, ports, feed, *rest = sys.argv[1:]
ports = [int(port) for port in ports.split(",")]
print(json.dumps(asyncio.run(
    reads(ports, feed, float(rest[0])) if kind == "reads"
    else crowd(ports[0], feed, int(rest[0])) if kind == "crowd" else garbage(ports[0], feed))))
