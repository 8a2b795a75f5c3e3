"""The caches of the adapters are limited in size or time, and keep their newest entries."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from bots.discord import store as discord_memory
from bots.discord.store import Store
from bots.slack.people import NOBODY, Person, person_of
from shared.messages import Place
from shared.recent import FreshMap, RecentMap, RecentSet
from tests.running import ROOT


def test_a_set_keeps_the_newest_items_and_at_most_twice_as_many() -> None:
    """This holds no matter how many were added before."""
    seen: RecentSet[int] = RecentSet(100)
    for number in range(1000):
        seen.add(number)
        newest = range(max(0, number - 99), number + 1)
        assert all(one in seen for one in newest)
        assert number + 1 not in seen
        assert len(seen) <= 200


def test_an_item_added_again_counts_as_new() -> None:
    """Otherwise it would be dropped as early as if it had not been added again."""
    seen: RecentSet[str] = RecentSet(2)
    for name in ("a", "b", "a", "c", "d"):
        seen.add(name)
    assert "a" in seen


def test_a_map_keeps_the_entries_that_were_set_last() -> None:
    """Dropped entries are passed to the callback."""
    dropped: list[int] = []
    newest: RecentMap[str, int] = RecentMap(2, dropped=dropped.append)
    newest["a"] = 1
    newest["b"] = 2
    newest["a"] = 3
    assert newest.setdefault("c", 4) == 4
    assert dict(newest) == {"a": 3, "c": 4}
    assert dropped == [2]


def test_a_fresh_map_drops_old_entries_when_it_is_full() -> None:
    """The newer half always stays."""
    remembered: FreshMap[int] = FreshMap(lambda: 0.0, keep=10)
    for number in range(100):
        remembered.put(number, "T1", str(number))
        assert len(remembered) <= 10
        newest = range(max(0, number - 4), number + 1)
        assert all(remembered.get("T1", str(one)) == one for one in newest)


@pytest.mark.parametrize("looked_after_s", [(), (5.0,), (0.2, 5.0)])
@pytest.mark.parametrize("put_at_s", [0.0, 5.0, 9.9, 35.0])
def test_a_fresh_map_drops_entries_after_a_while(
    put_at_s: float, looked_after_s: tuple[float, ...]
) -> None:
    """They stay for at least half of the time and at most all of it, even if they are read."""
    clock = [0.0]
    remembered: FreshMap[int] = FreshMap(lambda: clock[0], seconds=20.0)
    clock[0] = put_at_s
    remembered.put(1, "T1", "U1")
    for after_s in (*looked_after_s, 9.9):
        clock[0] = put_at_s + after_s
        assert remembered.get("T1", "U1") == 1
    clock[0] = put_at_s + 20.0
    assert remembered.get("T1", "U1") is None
    assert len(remembered) == 0


def test_a_fresh_map_returns_the_newest_value() -> None:
    """This holds even if the old value is in the older table."""
    now = 0.0
    remembered: FreshMap[int] = FreshMap(lambda: now, seconds=20.0)
    remembered.put(1, "T1", "U1")
    now = 11.0
    remembered.put(2, "T1", "U1")
    assert len(remembered) == 1
    assert remembered.get("T1", "U1") == 2


def test_only_the_used_fields_of_a_person_are_cached() -> None:
    """Slack's response contains many addresses of pictures."""
    user = {
        "id": "U1", "team_id": "T1", "name": "ada", "is_restricted": True, "tz": "Europe/London",
        "profile": {"display_name": "", "real_name": "Ada L.", "image_512": "https://a.example/1"},
    }  # fmt: skip
    assert person_of(user) == Person("Ada L.", "T1", None, stranger=False, guest=True)
    assert person_of({}) is NOBODY


def test_the_number_of_remembered_discord_questions_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits and deletions mostly concern the newest questions."""
    monkeypatch.setattr(discord_memory, "ASKED_KEPT", 100)
    memory = Store(tmp_path / "memory.sqlite")
    place = Place(platform="discord", channel="1", audience="public")
    for message in range(1, 641):
        memory.remember_question(message, "discord:1", place)
    known = [message for message in range(1, 641) if memory.question(message) is not None]
    assert known == list(range(541, 641))
    memory.close()


MAPPED_APART = """
import ctypes
from shared import tuning

class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    ]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo2
with tuning.imports():
    pass
large = bytes(4 << 20)
del large  # from here on glibc would take what is smaller from the heap
before = libc.mallinfo2().hblkhd
read = bytes(256 << 10)
print(libc.mallinfo2().hblkhd - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not glibc")
def test_read_buffers_of_sockets_are_not_on_the_heap() -> None:
    """The heap would grow by megabytes per hour, mostly unused."""
    run = [sys.executable, "-c", MAPPED_APART]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) >= 256 << 10
