"""A folder on a disk that can lose power: ext4 on a loop device on a lossy disk.

It needs Linux, root and FUSE; `why_not` says what is missing. Every method blocks, but none waits
for a disk without power.
"""

import contextlib
import ctypes
import fcntl
import functools
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.power.device import FILE
from tests.running import ROOT

SIZE_BYTES: Final = 192 << 20
READY_WITHIN_S: Final = 20.0
RELEASED_WITHIN_S: Final = 20.0
POLL_S: Final = 0.01

MKFS: Final = ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", "-J", "size=8")
OPTIONS: Final = "data=ordered,noauto_da_alloc,commit=1,nodiscard,noatime"
"""ext4's defaults with two exceptions.

It does not protect programs that rename an unsynced file, and it writes folders out every second,
so that names are often durable before the contents.
"""

GOING_DOWN: Final = 0x8004587D  # FS_IOC_GOINGDOWN, supported by every major file system of Linux
WITHOUT_WRITING: Final = 2
WRITE_NOW: Final = 2  # SYNC_FILE_RANGE_WRITE
PAGE_BYTES: Final = 4096
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@functools.cache
def why_not() -> str:
    """Says why this machine cannot run a lossy disk, or returns "" if it can. Tries it once."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a lossy disk needs Linux and root"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not Path(device).exists():
            return f"a lossy disk needs {device}"
    try:
        importlib.import_module("mfusepy")
    except (ImportError, OSError):
        return "a lossy disk needs libfuse3: run tests/power/install.sh"
    try:
        with tempfile.TemporaryDirectory() as folder, Mount(Path(folder) / "try"):
            return ""
    except (OSError, subprocess.CalledProcessError, RuntimeError) as error:
        message = getattr(error, "stderr", "") or str(error)
        return f"a lossy disk cannot be mounted: {' '.join(message.split())}"


class Mount:
    """A disk and its folder. As a context manager it leaves nothing mounted, whatever happens."""

    def __init__(self, folder: Path, size_bytes: int = SIZE_BYTES) -> None:
        """Mounts the disk at `folder`. The disk's own file is in `<folder>.disk`."""
        self.folder = folder
        self._device_folder = folder.with_name(f"{folder.name}.disk")
        self._size_bytes = size_bytes
        self._loop = ""
        self.counts: Counter[str] = Counter()
        """What happened to the disk and to the files on it."""
        self._seen: dict[Path, int] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._closing.close()

    def _start(self) -> None:
        self.folder.mkdir(parents=True)
        self._device_folder.mkdir()
        self._device = subprocess.Popen(
            [sys.executable, "-m", "tests.power.device", str(self._device_folder),
             str(self._size_bytes), str(self.folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C must not end it before the processes that use the disk
        )  # fmt: skip
        self._closing.callback(self._end_device)
        deadline = time.monotonic() + READY_WITHIN_S
        while not (self._device_folder / FILE).exists():
            if self._device.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the lossy disk did not start")
            time.sleep(POLL_S)
        self._attach()
        self._closing.callback(self._detach)
        _run(*MKFS, self._loop)
        self._mount()
        self._closing.callback(self._unmount)

    # --- power ----------------------------------------------------------------------------------

    def cut(self, rng: random.Random, kill: Callable[[], None]) -> None:
        """Cuts the power.

        `kill` sends SIGKILL to every process that uses the disk and does not wait. No process sees
        a late sync succeed: the disk first stops answering, then its users are killed, and only
        then it returns errors.
        """
        if rng.random() < 0.5:
            self._write_back(rng)
        with contextlib.suppress(OSError):  # a folder can be removed meanwhile
            self._seen = self._sizes()
        self._command("cut", seed=rng.getrandbits(32))
        try:
            kill()
        finally:
            self._command("off")
        self._go_down()

    def restore(self) -> None:
        """Restores the power and mounts the disk. The processes that used it must have ended."""
        self._unmount()
        self._detach()
        self._command("on")
        self._attach()
        self._mount()
        sizes = self._sizes()
        self.counts["files cut short"] += sum(
            sizes.get(path, 0) < size for path, size in self._seen.items()
        )

    def _sizes(self) -> dict[Path, int]:
        """Returns the size of each file as processes see it."""
        return {path: path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def _write_back(self, rng: random.Random) -> None:
        """Writes some pages of some files out, as the kernel can do at any time."""
        share = rng.random()
        for file in self._files():
            with contextlib.suppress(OSError):
                descriptor = os.open(file, os.O_RDONLY)
                try:
                    for at in range(0, os.fstat(descriptor).st_size, PAGE_BYTES):
                        if rng.random() < share:
                            _LIBC.sync_file_range(
                                descriptor, ctypes.c_int64(at), ctypes.c_int64(PAGE_BYTES),
                                ctypes.c_uint(WRITE_NOW),
                            )  # fmt: skip
                finally:
                    os.close(descriptor)

    def _go_down(self) -> None:
        """Makes the kernel drop everything that it has not written."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, GOING_DOWN, WITHOUT_WRITING.to_bytes(4, sys.byteorder))
        finally:
            os.close(descriptor)

    def _command(self, what: str, **more: Any) -> None:
        assert self._device.stdin is not None
        assert self._device.stdout is not None
        self._device.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._device.stdin.flush()
        self.counts |= json.loads(self._device.stdout.readline())

    # --- devices --------------------------------------------------------------------------------

    def _attach(self) -> None:
        file = str(self._device_folder / FILE)
        self._loop = _run("losetup", "--find", "--show", "--direct-io=on", file).strip()

    def _detach(self) -> None:
        if self._loop:
            _run("losetup", "--detach", self._loop)
            self._loop = ""

    def _mount(self) -> None:
        _run("mount", "-t", "ext4", "-o", OPTIONS, self._loop, str(self.folder))

    def _unmount(self) -> None:
        deadline = time.monotonic() + RELEASED_WITHIN_S
        while self.folder.is_mount():
            try:
                _run("umount", str(self.folder))
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    _run("umount", "--lazy", str(self.folder))
                    raise
                time.sleep(POLL_S)

    def _end_device(self) -> None:
        assert self._device.stdin is not None
        assert self._device.stdout is not None
        self._device.stdin.close()  # it then unmounts its own folder
        self._device.wait(READY_WITHIN_S)
        self._device.stdout.close()


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr.strip())
        raise
