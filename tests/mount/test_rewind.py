"""Rings in files: what one process wrote down another can give to listeners; what does not fit is less, not broken."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from castd.mount.mount import Mount
from castd.mount.rewind import GRAIN_BYTES, RewindFile, marks_of
from castd.mount.ring import write_at
from tests.mount.fakes import FRAME_SECONDS, Encoder, HandClock, frames_of, settings


def fed(name: str = "/live", *, entry_every: int = 4, frames: int = 2000) -> tuple[Mount, Encoder, HandClock]:
    """A mount that heard some frames, as fast as they are played."""
    time = HandClock()
    mount = Mount(name, settings(ring_bytes=64 * 1024), time.clock)
    encoder = Encoder(mount, entry_every=entry_every)
    mount.take_on(encoder.source)
    feed(encoder, time, frames)
    return mount, encoder, time


def feed(encoder: Encoder, time: HandClock, frames: int) -> None:
    for _ in range(frames):
        time.now += FRAME_SECONDS
        encoder.feed()


def file_of(mount: Mount, folder: Path, size: int = GRAIN_BYTES) -> RewindFile:
    """Have a mount's ring in a file."""
    file = RewindFile.of(str(folder), mount.name)
    new = file.allocate(size, size)
    file.take(new)
    mount.move_ring(new.descriptor, new.size)
    return file


def held(mount: Mount) -> list[int]:
    """Numbers of the frames in the ring, from its oldest entry on."""
    oldest = mount.timeline.oldest
    assert oldest is not None
    return [number for _, number in frames_of(mount.ring.read(oldest.position, mount.ring.head))]


def test_a_mount_goes_on_in_a_file_without_a_seam(tmp_path: Path) -> None:
    mount, encoder, time = fed(frames=100)
    before = mount.ring.head
    file_of(mount, tmp_path)
    assert mount.ring.head == before
    feed(encoder, time, 2000)
    assert held(mount) == list(range(2100))
    feed(encoder, time, 2000)
    assert held(mount)[-1] == 4099
    assert len(held(mount)) * 400 <= mount.ring.capacity == GRAIN_BYTES
    mount.reconfigure(settings(ring_bytes=64 * GRAIN_BYTES))
    feed(encoder, time, 1000)
    assert mount.ring.capacity == GRAIN_BYTES, "a ring in a file does not leave it"


def test_two_processes_do_not_meet_in_names(tmp_path: Path) -> None:
    """While one is asked to go, both may be at work on the files of a mount; what neither completed is cleared away."""
    mount, _, _ = fed(frames=100)
    file = file_of(mount, tmp_path)
    one, other = file.allocate(GRAIN_BYTES, GRAIN_BYTES), file.allocate(GRAIN_BYTES, GRAIN_BYTES)
    assert one.path != other.path
    file.save(marks_of(mount, closed=False))
    assert file.load() is not None, "what is allocated changes nothing yet"
    one.discard()
    RewindFile.clean(str(tmp_path))
    os.close(other.descriptor)
    assert sorted(path.suffix for path in file.ring.parent.iterdir()) == [".marks", ".ring"]


@given(steps=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 20_000)), max_size=12))
@settings_of(max_examples=50, deadline=None)
def test_a_ring_that_is_copied_while_it_is_written(steps: list[tuple[int, int]]) -> None:
    """Whatever is appended between two steps, it holds afterwards what it would hold otherwise."""
    mount, encoder, time = fed(frames=400)
    ring = mount.ring
    with TemporaryFile() as buffer:
        buffer.truncate(GRAIN_BYTES)
        start = upto = ring.tail
        for frames, size in steps:
            if upto < ring.tail:
                start = upto = ring.tail
            stop = min(upto + size, ring.head)
            write_at(buffer.fileno(), GRAIN_BYTES, upto, ring.views(upto, stop))
            upto = stop
            feed(encoder, time, frames)
        expected = ring.read(ring.tail, ring.head)
        ring.move(os.dup(buffer.fileno()), GRAIN_BYTES, range(start, upto))
        assert ring.read(ring.tail, ring.head) == expected[len(expected) - (ring.head - ring.tail) :]
        assert len(expected) - (ring.head - ring.tail) == max(0, start - (ring.head - len(expected)))
        feed(encoder, time, 100)
        ring.close()


def test_what_was_written_down_is_heard_again(tmp_path: Path) -> None:
    mount, encoder, time = fed()
    file = file_of(mount, tmp_path)
    mount.set_title("A - B")
    feed(encoder, time, 1000)
    file.save(marks_of(mount, closed=True))
    before, titles, end = held(mount), mount.timeline.recent_titles(), mount.timeline.end
    mount.release(encoder.source)

    again = Mount("/live", settings(), time.clock)
    marks = file.load()
    assert marks is not None
    assert file.reopen(again, marks)
    assert held(again) == before
    assert again.timeline.recent_titles() == titles
    assert again.timeline.end == end
    newcomer = Encoder(again)
    again.take_on(newcomer.source)
    feed(newcomer, time, 50)
    assert held(again) == [*before, *range(50)]
    joined = again.join_point()
    assert joined is not None
    assert joined.time >= end, "no burst reaches back to before the restart"


def test_what_a_crash_may_have_overwritten_is_not_heard(tmp_path: Path) -> None:
    """The marks are of before the last bytes, which went over the oldest ones."""
    mount, encoder, time = fed(frames=100)
    file = file_of(mount, tmp_path)
    feed(encoder, time, 4000)
    file.save(marks_of(mount, closed=False))
    told = held(mount)
    feed(encoder, time, 150)

    again = Mount("/live", settings(), time.clock)
    marks = file.load()
    assert marks is not None
    assert file.reopen(again, marks)
    numbers = held(again)  # whole frames, every one
    assert numbers == list(range(numbers[0], told[-1] + 1))
    assert told[0] < numbers[0] < told[-1]


def test_old_entries_are_a_second_apart_and_new_ones_as_they_were(tmp_path: Path) -> None:
    mount, encoder, time = fed(frames=100)
    file_of(mount, tmp_path, 4 * GRAIN_BYTES)
    feed(encoder, time, 8000)
    times = [each.time for each in mount.timeline.entries_from(0)]
    end = mount.timeline.end
    old = [later - earlier for earlier, later in pairwise(times[1:]) if later < end - 75]  # the first is a splice's
    new = [later - earlier for earlier, later in pairwise(times) if earlier > end - 60]
    assert len(old) > 50
    assert min(old) >= 1
    assert max(old) < 1.2
    assert max(new) < 0.2
    entry = mount.timeline.rewound(end - 100)
    assert entry is not None
    assert end - 101.2 < entry.time <= end - 100
    on_air = mount.timeline.entry_on_air(entry.wall + 0.5)
    assert on_air == entry
    assert mount.timeline.entry_on_air(time.clock.wall() - 10_000) is None


def test_a_disk_that_is_too_small_gives_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount, _, _ = fed(frames=100)
    disk = os.statvfs(tmp_path)
    monkeypatch.setattr("castd.mount.rewind.RESERVE_BYTES", disk.f_bavail * disk.f_frsize - 5 * GRAIN_BYTES)
    file = RewindFile.of(str(tmp_path), mount.name)
    new = file.allocate(100 * GRAIN_BYTES, GRAIN_BYTES)
    file.take(new)
    os.close(new.descriptor)
    assert GRAIN_BYTES <= new.size <= 6 * GRAIN_BYTES
    assert os.stat(file.ring).st_blocks * 512 >= new.size, "all of it is allocated"
    with pytest.raises(OSError, match="MiB are free"):
        file.allocate(100 * GRAIN_BYTES, 50 * GRAIN_BYTES)
    assert [path.name for path in file.ring.parent.iterdir()] == [file.ring.name]


@pytest.mark.parametrize("damage", ["nothing there", "cut", "noise", "of another time", "ring cut", "ring gone"])
def test_files_that_cannot_be_used(damage: str, tmp_path: Path) -> None:
    mount, _, time = fed()
    file = file_of(mount, tmp_path)
    marks = marks_of(mount, closed=True)
    file.save(marks)
    match damage:
        case "nothing there":
            file.remove()
        case "cut":
            file.marks.write_bytes(file.marks.read_bytes()[:100])
        case "noise":
            file.marks.write_bytes(bytes(range(256)))
        case "of another time":
            file.save(msgspec.structs.replace(marks, format=99))
        case "ring cut":
            os.truncate(file.ring, 4096)
        case "ring gone":
            file.ring.unlink()
    found = file.load()
    assert found is None
    again = Mount("/live", settings(), time.clock)
    assert not file.reopen(again, marks) or damage in ("cut", "noise", "of another time")


def test_names_of_files(tmp_path: Path) -> None:
    names = ["/live", "/LIVE", "/a/b", "/a-b", "/" + "x" * 250, "/../../etc", "/café"]
    files = {RewindFile.of(str(tmp_path), name).ring for name in names}
    assert len(files) == len(names)
    assert all(path.parent == tmp_path / "rewind" and len(path.name.encode()) < 100 for path in files)
