# ruff: noqa: ARG002  (FUSE passes more than one file needs)
"""Serves a lossy disk as the only file of a FUSE file system, to be used by a loop device.

It runs in its own process, because a process that serves a file system must not wait for it.
Commands arrive as JSON lines on standard input. When the input ends, this process unmounts
everything and ends, because its owner may have been killed.
"""

import dataclasses
import errno
import json
import random
import stat
import subprocess
import sys
import threading
from typing import Any, Final, Literal

from mfusepy import FUSE, FuseOSError, Operations

from tests.power.disk import LossyDisk

FILE: Final = "disk"

Power = Literal["on", "stalled", "off"]


class Device(Operations):  # type: ignore[misc]
    """The folder and its one file. Requests arrive one at a time, in one thread."""

    use_ns = True

    def __init__(self, size: int) -> None:
        self._disk = LossyDisk(size)
        self._power: Power = "on"
        self._changed = threading.Condition()

    # --- commands, in the thread that reads them ------------------------------------------------

    def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carries out a command. Returns the counts."""
        with self._changed:
            match command["do"]:
                case "cut":
                    # No further write is confirmed, because none reaches the disk.
                    self._power = "stalled"
                    self._disk.cut(random.Random(command["seed"]))
                case "off":
                    self._power = "off"
                case "on":
                    self._power = "on"
            self._changed.notify_all()
            return dataclasses.asdict(self._disk.counts)

    def _powered(self) -> None:
        while self._power == "stalled":
            self._changed.wait()
        if self._power == "off":
            raise FuseOSError(errno.EIO)

    # --- requests, in the thread of FUSE --------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path == f"/{FILE}":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._disk.size}
        raise FuseOSError(errno.ENOENT)

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", FILE]

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        raise FuseOSError(errno.EPERM)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._changed:
            self._powered()
            return self._disk.read(offset, size)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._changed:
            self._powered()
            self._disk.write(offset, data)
            return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self._changed:
            self._powered()
            self._disk.flush()
            return 0

    def flush(self, path: str, fh: int) -> int:
        """Does nothing: FUSE sends it with each `close`, and it is not a write barrier."""
        return 0


def main() -> None:
    """Serves the disk. Arguments: its folder, its size in bytes, and its owner's mount point."""
    folder, size, mounted_at = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    device = Device(size)

    def listen() -> None:
        for line in sys.stdin:
            print(json.dumps(device.carry_out(json.loads(line))), flush=True)  # noqa: T201
        device.carry_out({"do": "off"})  # wakes all requests that wait
        _release(folder, mounted_at)

    threading.Thread(target=listen, daemon=True).start()
    FUSE(device, folder, foreground=True, nothreads=True, direct_io=True, fsname="lossy")


def _release(folder: str, mounted_at: str) -> None:
    def run(*command: str) -> str:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    run("umount", "--lazy", mounted_at)
    for loop in run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines():
        name, _, file = loop.partition(" ")
        if file.strip() == f"{folder}/{FILE}":
            run("losetup", "--detach", name)
    run("umount", "--lazy", folder)  # ends FUSE's loop in the main thread


if __name__ == "__main__":
    main()
