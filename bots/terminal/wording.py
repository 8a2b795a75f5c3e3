"""The chat's own messages, and the words that it treats as commands."""

from typing import Final

EXIT_WORDS: Final = frozenset({"exit", "quit", ":q", ":q!", ":wq", "exit()", "quit()"})
"""What people type to leave other programs; each counts only as a whole line."""

HELP: Final = (
    "Write a question and press Enter; the answer appears below.\n"
    "Alt+Enter, Ctrl+J   a new line within the question; pasted lines are one question\n"
    "Up, Ctrl+R          earlier questions, and a search in them\n"
    "Ctrl-C              clears the line, or stops an answer; twice on an empty line, it leaves\n"
    "/good, /bad         rate the latest answer; a reason may follow\n"
    "/correct            and a better answer: what the latest one should have been\n"
    "/reset              begin a new conversation: what was said here is forgotten\n"
    "/privacy            what is stored and why; with `training off`, no model learns from it\n"
    "/export             write what is recorded of you to a file in the current folder\n"
    "/forget             erase everything that is stored about you, after a confirmation\n"
    "/help               this text\n"
    "/quit               leave, as Ctrl-D on an empty line does"
)
PRIVACY: Final = "/privacy"
FORGET: Final = "/forget"
FORGET_SURELY: Final = "/forget everything"
CONFIRM_FORGET: Final = (
    "This erases everything that is stored about you: your questions, the answers, files and "
    f"ratings. It cannot be undone. To do it, write: {FORGET_SURELY}"
)
EXPORTED: Final = "What is recorded of you is in {path}"
EXPORT_NOTHING: Final = "Nothing is recorded of you."
EXPORT_UNAVAILABLE: Final = (
    "Your data cannot be read now. It needs `threadwax recorder` to run, which `threadwax up` "
    "starts; then try again."
)
NO_PROGRESS: Final = (
    "Your question is stored, but the dataflow has not reported on it for 15 s and may not be "
    "running. `threadwax up` starts everything, and `threadwax doctor` says what is missing."
)
DISCONNECTED: Final = (
    "NATS does not answer. The chat continues when it is back; `threadwax doctor` says what is "
    "missing."
)
LEFT_UNANSWERED: Final = "Leaving. The answer will be shown in your next chat."
