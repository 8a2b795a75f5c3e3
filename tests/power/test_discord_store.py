"""After a power cut the Discord adapter still knows where to read messages sent meanwhile."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from bots.discord.store import Store
from tests.power.mounts import Mount
from tests.running import ROOT

REMEMBERS = """
import sys, time
from pathlib import Path
from bots.discord.store import Store
store = Store(Path(sys.argv[1]) / "discord.sqlite3")
store.frozen = False
store.begin(1000); store.done(1000); store.save()
store.follow(7, 1000, direct=True)
print("written", flush=True)
for message in range(1001, 1 << 40):
    store.begin(message); store.done(message); store.save()
    store.follow(7, message, direct=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_the_first_watermark_and_direct_channels_survive_a_power_cut(
    lossy: Mount, seed: int
) -> None:
    """Without a watermark a start counts as the first one, and bots cannot list direct channels."""
    program = subprocess.Popen(
        [sys.executable, "-c", REMEMBERS, str(lossy.folder)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"written\n"
    lossy.cut(random.Random(seed), program.kill)
    program.wait()
    program.stdout.close()
    lossy.restore()
    store = Store(Path(lossy.folder) / "discord.sqlite3")
    assert store.watermark >= 1000
    assert store.followed() == [7]
    store.close()
