"""Calls the model with bare clients, to measure the model server and the clients alone.

Run as `bare_client KIND URL USERS ROUNDS`; KIND is `socket` (no library: the floor of the model
server) or `openai` (the client's ordinary streamed call). Each user calls, reads the whole stream,
and calls again. Prints seconds, processor seconds and words as JSON.
"""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import httpx2
import openai

MESSAGES = [{"role": "user", "content": "hello"}]


async def by_socket(url: str, users: int, rounds: int) -> int:
    parts = urlsplit(url)
    body = json.dumps({"model": "fake", "messages": MESSAGES, "stream": True}).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body

    async def user() -> int:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        words = 0
        for _ in range(rounds):
            writer.write(request)
            words += (await reader.readuntil(b"0\r\n\r\n")).count(b"word ")
        writer.close()
        return words

    return sum(await asyncio.gather(*(user() for _ in range(users))))


async def by_openai(url: str, users: int, rounds: int) -> int:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    client = openai.AsyncOpenAI(
        base_url=url, api_key="k", max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits),
    )  # fmt: skip

    async def user() -> int:
        words = 0
        for _ in range(rounds):
            stream = await client.chat.completions.create(
                model="fake",
                messages=MESSAGES,  # type: ignore[arg-type]
                stream=True,
            )
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    words += 1
        return words

    return sum(await asyncio.gather(*(user() for _ in range(users))))


async def main(kind: str, url: str, users: int, rounds: int) -> None:
    ask = by_socket if kind == "socket" else by_openai
    await ask(url, 1, 1)
    began, used = time.monotonic(), time.process_time()
    words = await ask(url, users, rounds)
    print(  # noqa: T201
        json.dumps(
            {
                "seconds": time.monotonic() - began,
                "cpu_s": time.process_time() - used,
                "words": words,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
