"""Stands between a client and a Redis on Unix sockets, and spoils what goes through it.

LISTEN UPSTREAM count           nothing; after each connection prints how many bytes clients have sent
LISTEN UPSTREAM stop BYTES      after so many bytes from clients nothing goes through any more; prints "stopped"
LISTEN UPSTREAM errors EVERY    every so-manyth +OK becomes an error
LISTEN UPSTREAM slow RATE       so many bytes a second from clients
"""
import asyncio
import sys

listen, upstream, mode, number = sys.argv[1], sys.argv[2], sys.argv[3], int((sys.argv + ["0"])[4])
sent = 0
replies = 0
stopped = False


async def forth(source, sink):
    global sent, stopped
    while data := await source.read(1 << 14):
        if mode == "stop" and sent + len(data) > number:
            data = data[: max(0, number - sent)]
        sent += len(data)
        if not stopped:
            sink.write(data)
            await sink.drain()
        if mode == "stop" and sent >= number and not stopped:
            stopped = True
            print("stopped", file=sys.stderr, flush=True)
        if mode == "slow":
            await asyncio.sleep(len(data) / number)
    sink.close()
    if mode == "count":
        print(sent, file=sys.stderr, flush=True)


async def back(source, sink):
    global replies
    rest = b""
    while data := await source.read(1 << 16):
        if mode == "stop" and stopped:
            continue
        if mode == "errors":
            *lines, rest = (rest + data).split(b"\r\n")
            for place, line in enumerate(lines):
                if line == b"+OK":
                    replies += 1
                    # One that comes alone was asked for again.
                    if replies % number == 0 and (number == 1 or len(lines) > 1):
                        lines[place] = b"-ERR one in so many"
            data = b"".join(line + b"\r\n" for line in lines)
        sink.write(data)
        await sink.drain()
    sink.close()


async def serve(reader, writer):
    try:
        up_reader, up_writer = await asyncio.open_unix_connection(upstream)
        await asyncio.gather(forth(reader, up_writer), back(up_reader, writer))
    except (ConnectionError, OSError):
        writer.close()


async def main():
    async with await asyncio.start_unix_server(serve, listen) as server:
        await server.serve_forever()


asyncio.run(main())
