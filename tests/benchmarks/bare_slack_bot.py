"""The peer: a Slack bot as in the SDK's tutorial, with one shared openai client and no state."""

import asyncio
import os
from typing import Any

import openai
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient


async def main() -> None:
    web = AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"])
    app = AsyncApp(client=web)
    model = openai.AsyncOpenAI()

    @app.event("app_mention")
    async def answer(event: dict[str, Any], say: Any) -> None:
        question = event["text"].split("> ", 1)[1]
        stream = await model.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": question}], stream=True
        )
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        await say(text, thread_ts=event["ts"])

    @app.event("message")
    async def ignore() -> None: ...

    await AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"]).start_async()


if __name__ == "__main__":
    asyncio.run(main())
