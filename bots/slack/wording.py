"""What the bot says for itself in Slack: refusals, notices and help."""

from typing import Final

from bots.privacy import EXPLANATION

HELP: Final = (
    "Ask me in a direct message, or mention me in a channel; in a thread I keep listening. "
    "`!stop` stops an answer, `!reset` makes me forget what was said here, `!help` shows this; "
    "`/ask`, `/reset` and `/help` work outside threads. `/privacy`, in threads `!privacy`, says "
    "what I store, `/export` sends it to you as a file, and `/forget` erases all of it."
)
PRIVACY: Final = EXPLANATION + " In a thread, write `!privacy` in place of `/privacy`."
FORGET: Final = (
    "I can erase everything that I stored about you: your messages to me, my answers, files and "
    "ratings. This cannot be undone. Messages in Slack itself stay until you delete them."
)
EXPORTING: Final = (
    "I am collecting what is recorded of you, and will send you a file in a direct message."
)
EXPORTED: Final = (
    "This is what is recorded of you: your questions, my answers and your ratings. Only you can "
    "see this file, until you share or delete it."
)
EXPORT_NOTHING: Final = "Nothing is recorded of you."
EXPORT_FAILED: Final = (
    "I cannot send you the file right now. Please try again in a few minutes, or ask whoever runs "
    "this bot."
)
EXPORT_SCOPE: Final = (
    "I am not allowed to send files in this workspace. Please ask whoever runs this bot to install "
    "it again: it needs the permission files:write."
)
ERASE: Final = "Erase everything"
ERASE_SURELY: Final = "Everything I stored about you in all channels is erased."
KEEP: Final = "Cancel"
ERASING: Final = "I am erasing it now, and will tell you here when it is done."
FORGOTTEN: Final = "Done: I no longer know what was said here."
EMPTY: Final = "You mentioned me without a question. " + HELP
TOO_LONG: Final = "Your message is too long for me. Please shorten it, or send fewer files."
NOT_NOW: Final = "I cannot take questions right now. Please try again in a minute."
STILL_SAVING: Final = "One moment: I am still saving this. I will tell you here when it is saved."
SAVED: Final = "It is saved."
OVER_QUOTA: Final = (
    "You have sent me more than I can store for one person. Please try again later, or ask "
    "whoever runs this bot."
)
ELSEWHERE: Final = (
    "I cannot write in this conversation, so I will send you my answer as a direct message."
)
NOT_UNDERSTOOD: Final = (
    "I could not read your last message or click. Please try again in another way."
)

CORRECTION: Final = "A better answer"
WRONG: Final = "What was wrong?"
BETTER: Final = "What should the answer have been?"
SEND: Final = "Send"
SKIP: Final = "Skip"
NOT_YOURS: Final = "Only the person who asked can use this button."
NOT_YOU: Final = "Sorry, I am not allowed to answer you. Please ask whoever runs this bot."
NOT_HERE: Final = (
    "Sorry, I am not allowed to answer in this channel. A direct message to me may work."
)
NOT_EXTERNAL: Final = "Sorry, I only answer members of this workspace."
NOT_GUESTS: Final = "Sorry, I do not answer guests of this workspace."
