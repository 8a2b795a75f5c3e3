"""The peer: a Discord bot as in the SDK's tutorial, with one shared openai client and no state."""

import os

import discord
import openai
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL


class Bot(discord.AutoShardedClient):
    async def on_message(self, message: discord.Message) -> None:
        if message.author == self.user or self.user not in message.mentions:
            return
        question = message.content.split("> ", 1)[1]
        stream = await model.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": question}], stream=True
        )
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        await message.reply(text)


if __name__ == "__main__":
    Route.BASE = os.environ["DISCORD_API_URL"]
    DiscordWebSocket.DEFAULT_GATEWAY = URL(os.environ["DISCORD_GATEWAY_URL"])
    model = openai.AsyncOpenAI()
    intents = discord.Intents.default()
    intents.message_content = True
    Bot(intents=intents).run(os.environ["DISCORD_TOKEN"], log_handler=None)
