"""Runs the tests that failed beside three others once more, alone: `make test` calls it.

Four tests at a time can keep a slow machine so busy that a real process misses a deadline. A test
that fails alone, too, fails the run. A few that pass alone do not, but are named: each of them is
to be looked into. More than a few are no coincidence, and are not tried again.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

FAILED: Final = Path(".pytest_cache/v/cache/lastfailed")
TESTS_FAILED: Final = 1
"""Pytest's exit code; other codes mean that the tests did not run to their end."""

FEW: Final = 5


def main(code: int) -> int:
    failed = sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if code != TESTS_FAILED or not 0 < len(failed) <= FEW:
        return code
    print(f"\nFailed beside others; now alone: {', '.join(failed)}", flush=True)  # noqa: T201
    code = subprocess.run([sys.executable, "-m", "pytest", "--last-failed"], check=False).returncode
    if code == 0:
        print(f"Passed alone, but look into it: {', '.join(failed)}")  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
