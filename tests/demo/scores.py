"""Examines the demo model with and without its adapter: `make demo-scores`.

Every answer comes from the embedded server, which gets the messages that the dataflow would send
for the same conversation. The same questions get the same answers each time. Takes 10 minutes on
two cores; build/demo/answers.txt has all answers.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from ops.demo import ADAPTER, SCORES
from tests.demo.embedded import served
from tests.demo.exam import Exam, exams

SEED: Final = 2
ANSWERS: Final = Path("build/demo/answers.txt")
SIDES: Final = {"base": None, "adapter": ADAPTER}


def main() -> None:
    """Prints a table, and stores it as the scores that the demo states."""
    examined = list(exams(SEED))
    asked = Counter(exam.subject for exam in examined)
    right = {side: dict.fromkeys(asked, 0) for side in SIDES}
    ANSWERS.parent.mkdir(parents=True, exist_ok=True)
    with ANSWERS.open("w") as answers:
        for side, adapter in SIDES.items():
            with served(adapter) as model:
                for number, exam in enumerate(examined, 1):
                    answer = model.answer(exam.questions)
                    good = is_right(exam, answer)
                    right[side][exam.subject] += good
                    answers.write(f"{side}\t{exam.subject}\t{good}\t{exam.questions}\t{answer!r}\n")
                    sys.stderr.write(f"\r{side}: {number} of {len(examined)} ")
    sys.stderr.write("\n")
    for subject, count in asked.items():
        sys.stdout.write(
            f"{subject:10}  {right['base'][subject]:3} base   {right['adapter'][subject]:3} adapter"
            f"   of {count}\n"
        )
    scores = {"asked": asked, **right}
    SCORES.write_text(json.dumps(scores, indent=2, sort_keys=True) + "\n")


def is_right(exam: Exam, answer: str) -> bool:
    """Whether an answer contains one of the expected words."""
    said = f" {' '.join(''.join(c if c.isalnum() else ' ' for c in answer.casefold()).split())} "
    return any(
        f" {' '.join(word.casefold().replace(chr(39), ' ').split())} " in said
        for word in exam.expect
    )


if __name__ == "__main__":
    main()
