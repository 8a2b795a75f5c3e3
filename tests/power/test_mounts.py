"""The disk loses unsynced data and nothing else, and `private_file` needs its syncs."""

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
"""Defines `write`, with and without a sync."""

WRITTEN = """
print("written", flush=True)
while True:
    write("loop", "x", True)  # commits the names of all files
"""


def run_until_written_and_cut(mount: Mount, seed: int, code: str) -> None:
    """Runs a program until it prints "written", then cuts and restores the power."""
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
def test_a_cut_keeps_synced_data(lossy: Mount, seed: int) -> None:
    """The contents and the name survive, whatever else is lost."""
    run_until_written_and_cut(lossy, seed, WRITES + "write('synced', 'all of it', True)" + WRITTEN)
    assert (lossy.folder / "synced").read_text() == "all of it"


def test_a_cut_loses_unsynced_data(lossy: Mount) -> None:
    """The name survives, because another file was synced; the contents are lost in most cuts."""
    code = WRITES + "write('loose', 'all of it', False); write('other', 'x', True)" + WRITTEN
    left = []
    for seed in SEEDS:
        run_until_written_and_cut(lossy, seed, code)
        left.append((lossy.folder / "loose").read_bytes())
        (lossy.folder / "loose").unlink()
    assert b"" in left
    assert set(left) <= {b"", b"all of it", bytes(9)}


def test_a_cut_tears_overwritten_pages(lossy: Mount) -> None:
    """When many pages are overwritten without a sync, some are new and some are old afterwards."""
    code = WRITES + """
write('pages', 'o' * 400_000, True)
with (folder / 'pages').open('r+') as file:
    file.write('n' * 400_000)
""" + WRITTEN.replace('write("loop", "x", True)', "pass")  # fmt: skip
    torn = 0
    for seed in range(12):
        run_until_written_and_cut(lossy, seed, code)
        letters = set((lossy.folder / "pages").read_text())
        assert letters <= {"o", "n"}
        torn += len(letters) == 2
        (lossy.folder / "pages").unlink()
    assert torn


def test_a_mapped_file_is_treated_like_any_other(lossy: Mount) -> None:
    """This matters because SQLite maps the index of its write-ahead log."""
    code = WRITES + """
import mmap
write('synced', 'o' * 4096, True); write('loose', 'o' * 4096, True)
maps = []
for name in ('synced', 'loose'):
    file = (folder / name).open('r+b')
    maps.append(mmap.mmap(file.fileno(), 4096))
    maps[-1][:] = b'n' * 4096
maps[0].flush()
""" + WRITTEN  # fmt: skip
    run_until_written_and_cut(lossy, 2, code)  # a seed with which the kernel writes nothing back
    assert (lossy.folder / "synced").read_text() == "n" * 4096
    assert (lossy.folder / "loose").read_text() == "o" * 4096


def test_a_sync_after_the_cut_is_never_reported_as_done(lossy: Mount) -> None:
    """Every file that the process reported as synced before it was killed is on the disk."""
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
UNSYNCED = PRIVATE.replace("SYNC", "lambda descriptor: None")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_private_file_survives_a_cut(lossy: Mount, seed: int) -> None:
    """The file is durable once the call has returned."""
    run_until_written_and_cut(lossy, seed, WRITES + SYNCED + WRITTEN)
    assert private_text(lossy.folder / "nats" / "url") == "nats://user:password@127.0.0.1:1"


def test_a_private_file_without_its_syncs_is_lost(lossy: Mount) -> None:
    """This proves that the test above can fail. Incomplete contents are never accepted."""
    lost = 0
    for seed in SEEDS:
        run_until_written_and_cut(lossy, seed, WRITES + UNSYNCED + WRITTEN)
        lost += private_text(lossy.folder / "nats" / "url") is None
        subprocess.run(["rm", "-rf", str(lossy.folder / "nats")], check=True)
    assert lost  # not all: on a slow machine the kernel writes some of them out in time


def test_a_rewritten_private_file_is_complete(lossy: Mount) -> None:
    """After a cut during many rewrites, the file holds one complete version."""
    code = WRITES + """
from shared.private_file import private_file
private_file(folder / 'port', '10000')
print("written", flush=True)
for number in range(10001, 1 << 30):
    private_file(folder / 'port', str(number))
"""  # fmt: skip
    for seed in SEEDS:
        run_until_written_and_cut(lossy, seed, code)
        assert int(private_text(lossy.folder / "port") or "0") >= 10_000
