"""The disk loses what it may lose and nothing else; `private_file` needs its syncs."""

import random
import subprocess
import sys

import pytest

from shared.private_file import private_text
from tests.power.mounts import Mount
from tests.running import ROOT

SEEDS = range(6)

WRITES = """
import os, sys
from pathlib import Path
folder = Path(sys.argv[1])
def write(name, text, sync):
    with (folder / name).open("w") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())
"""
"""Writes files with and without a sync."""

ENDS = """
print("written", flush=True)
while True:
    write("loop", "x", True)  # commits the names of all files
"""


def cut_amid(mount: Mount, seed: int, code: str) -> None:
    """Runs a program that prints a line once it is as far, and cuts the power then."""
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(mount.folder)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"written\n"
    mount.cut(random.Random(seed), program.kill)
    program.wait()
    program.stdout.close()
    mount.restore()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_keeps_what_was_synced(lossy: Mount, seed: int) -> None:
    """Contents and name, whatever else is lost."""
    cut_amid(lossy, seed, WRITES + "write('synced', 'all of it', True)" + ENDS)
    assert (lossy.folder / "synced").read_text() == "all of it"


def test_a_cut_loses_what_was_not_synced(lossy: Mount) -> None:
    """Names are there, since something else was synced; contents are lost in most cuts."""
    code = WRITES + "write('loose', 'all of it', False); write('other', 'x', True)" + ENDS
    left = []
    for seed in SEEDS:
        cut_amid(lossy, seed, code)
        left.append((lossy.folder / "loose").read_bytes())
        (lossy.folder / "loose").unlink()
    assert b"" in left
    assert set(left) <= {b"", b"all of it", bytes(9)}


def test_a_cut_tears_what_was_written_over(lossy: Mount) -> None:
    """Of many pages that were written anew without a sync, some are new and some are old."""
    code = WRITES + """
write('pages', 'o' * 400_000, True)
with (folder / 'pages').open('r+') as file:
    file.write('n' * 400_000)
""" + ENDS.replace('write("loop", "x", True)', "pass")  # fmt: skip
    torn = 0
    for seed in range(12):
        cut_amid(lossy, seed, code)
        letters = set((lossy.folder / "pages").read_text())
        assert letters <= {"o", "n"}
        torn += len(letters) == 2
        (lossy.folder / "pages").unlink()
    assert torn


def test_a_mapped_file_is_lost_and_kept_like_another(lossy: Mount) -> None:
    """SQLite maps its index of a write-ahead log."""
    code = WRITES + """
import mmap
write('synced', 'o' * 4096, True); write('loose', 'o' * 4096, True)
maps = []
for name in ('synced', 'loose'):
    file = (folder / name).open('r+b')
    maps.append(mmap.mmap(file.fileno(), 4096))
    maps[-1][:] = b'n' * 4096
maps[0].flush()
""" + ENDS  # fmt: skip
    cut_amid(lossy, 2, code)  # a seed that writes nothing back
    assert (lossy.folder / "synced").read_text() == "n" * 4096
    assert (lossy.folder / "loose").read_text() == "o" * 4096


def test_a_sync_that_comes_too_late_is_never_seen_to_succeed(lossy: Mount) -> None:
    """What a process reported as synced before it was killed is on the disk."""
    code = WRITES + """
number = 0
print("written", flush=True)
while True:
    number += 1
    write(f'{number}', 'x', True)
    descriptor = os.open(folder, os.O_RDONLY); os.fsync(descriptor); os.close(descriptor)
    os.write(2, b'.')
"""  # fmt: skip
    for seed in SEEDS:
        program = subprocess.Popen(
            [sys.executable, "-c", code, str(lossy.folder)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert program.stdout is not None
        program.stdout.readline()
        lossy.cut(random.Random(seed), program.kill)
        _, reported = program.communicate()
        lossy.restore()
        for number in range(1, reported.count(b".") + 1):
            assert (lossy.folder / str(number)).read_text() == "x"
        for file in lossy.folder.iterdir():
            if file.is_file():
                file.unlink()


PRIVATE = """
from shared.private_file import private_file
real, os.fsync = os.fsync, SYNC
private_file(folder / 'nats' / 'url', 'nats://user:password@127.0.0.1:1')
os.fsync = real
"""
SYNCED = PRIVATE.replace("SYNC", "os.fsync")
LOOSE = PRIVATE.replace("SYNC", "lambda descriptor: None")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_private_file_survives_a_cut(lossy: Mount, seed: int) -> None:
    """From the moment at which the call returned."""
    cut_amid(lossy, seed, WRITES + SYNCED + ENDS)
    assert private_text(lossy.folder / "nats" / "url") == "nats://user:password@127.0.0.1:1"


def test_a_private_file_without_its_syncs_is_lost(lossy: Mount) -> None:
    """So the test above can fail; and what is left is never believed."""
    lost = 0
    for seed in SEEDS:
        cut_amid(lossy, seed, WRITES + LOOSE + ENDS)
        lost += private_text(lossy.folder / "nats" / "url") is None
        subprocess.run(["rm", "-rf", str(lossy.folder / "nats")], check=True)
    assert lost  # a slow machine gives the kernel time to write some of them out


def test_whole_or_not_at_all(lossy: Mount) -> None:
    """A cut amid many rewrites leaves one of the versions, whole."""
    code = WRITES + """
from shared.private_file import private_file
private_file(folder / 'port', '10000')
print("written", flush=True)
for number in range(10001, 1 << 30):
    private_file(folder / 'port', str(number))
"""  # fmt: skip
    for seed in SEEDS:
        cut_amid(lossy, seed, code)
        assert int(private_text(lossy.folder / "port") or "0") >= 10_000
