"""Where shipped files lie restored: once, whole or not at all, each user's own."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kbengine
from kbengine import cachefolder, locks, restored
from kbengine.bundle import Bundle, read_bundle, write_bundle
from kbengine.errors import BundleError
from tests import hostile
from tests.shipped import archived, shipped_members, small_shipped, small_whole
from tests.soak import times
from tests.toys import toy_bundle, toy_manifest, toy_parts

ROOT = Path(__file__).parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="of file systems with owners and modes")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that restored files of this test lie in."""
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "restored"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / "small.shipped"
    path.write_bytes(small_shipped())
    return path


def files(folder: Path) -> list[Path]:
    """What lies there beside locks."""
    return sorted(path for path in folder.iterdir() if path.suffix != ".lock")


def is_small(bundle: Bundle) -> bool:
    return bundle.parts == small_whole().parts and bundle.manifest == small_whole().manifest


def unreadable(path: Path) -> None:
    """Spoil the parts of a shipped file, so that only what was restored before can be had."""
    manifest, members = shipped_members()
    path.write_bytes(archived(manifest, {name: bytes(len(d)) for name, d in members.items()}))
    with pytest.raises(BundleError):
        restored.restore(path, path.with_name("none.bundle"))


# Once


def test_a_shipped_file_is_restored_at_its_first_load(cache: Path, shipped: Path) -> None:
    first = kbengine.load(shipped)
    (place,) = files(cache)
    assert is_small(read_bundle(place))
    assert first.bundle.file_bytes == place.stat().st_size
    unreadable(shipped)
    second = kbengine.load(shipped)
    assert second.suggest("see you t") == first.suggest("see you t")
    assert second.bundle.file_bytes == place.stat().st_size


def test_a_bundle_is_read_where_it_lies(cache: Path, tmp_path: Path) -> None:
    path = toy_bundle(tmp_path / "toy.bundle")
    assert restored.read(path).parts == toy_parts()
    assert not cache.exists()


def test_a_damaged_shipped_file_is_refused_and_leaves_nothing(cache: Path, shipped: Path) -> None:
    unreadable(shipped)
    with pytest.raises(BundleError, match="cannot be restored"):
        restored.read(shipped)
    assert files(cache) == []


def start(shipped: Path) -> subprocess.Popen[bytes]:
    """A process that waits for a line, loads, and says which file it has: its inode and size."""
    program = """
import os, sys
from pathlib import Path
from kbengine import cachefolder, restored
print("ready", flush=True)
sys.stdin.readline()
bundle = restored.read(Path(sys.argv[1]))
(place,) = (cachefolder.cache_folder() / "restored").glob("*.bundle")
print(place.stat().st_ino, bundle.file_bytes)
"""
    command = [sys.executable, "-c", program, str(shipped)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )


def test_processes_at_the_same_time_restore_once(cache: Path, shipped: Path) -> None:
    """A second one that restored would put another file in the place of the first's."""
    children = [start(shipped) for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
    told = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * 4
    (place,) = files(cache)
    facts = place.stat()
    assert told == [[b"%d" % facts.st_ino, b"%d" % facts.st_size]] * 4


def test_threads_at_the_same_time_get_the_same(cache: Path, shipped: Path) -> None:
    found: list[Bundle] = []
    threads = [
        threading.Thread(target=lambda: found.append(restored.read(shipped))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(is_small(bundle) for bundle in found)
    assert len(files(cache)) == 1


# Whole or not at all

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from kbengine import cachefolder, restored
shipped, count = Path(sys.argv[1]), int(sys.argv[2])
folder = cachefolder.cache_folder() / "restored"
moments = random.Random(3)
restored.read(shipped)
for _ in range(count):
    child = os.fork()
    if not child:
        while True:  # about half of its time it restores
            for place in folder.glob("*.bundle"):
                place.unlink()
            restored.read(shipped)
            time.sleep(0.004)
    time.sleep(moments.uniform(0.002, 0.08))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for place in folder.glob("*.bundle"):
        restored.read_bundle(place)  # raises for a half one
    restored.read(shipped)
    assert len(list(folder.glob("*.bundle"))) == 1
"""
# Kills a process at the first thing that it does to files, then at the second, and so on.
KILLED_IN_TURN = """
import itertools, os, signal, sys
from pathlib import Path
from kbengine import cachefolder, restored
shipped, folder = Path(sys.argv[1]), cachefolder.cache_folder() / "restored"
restored.read(shipped)
whole = []
for last in itertools.count(1):
    for place in folder.glob("*.bundle"):
        place.unlink()
    child = os.fork()
    if not child:
        turns = itertools.count(1)
        def hook(event, args):
            if event.startswith(("open", "os.")) and next(turns) == last:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        restored.read(shipped)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    left = list(folder.glob("*.bundle"))
    for place in left:
        restored.read_bundle(place)
    whole.append(len(left))
    if not os.WIFSIGNALED(status):
        break
print(*whole)
"""


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
def test_a_kill_leaves_nothing_half_written(cache: Path, shipped: Path) -> None:
    count = times(60, 3000)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(shipped), str(count)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert is_small(restored.read(shipped))
    (place,) = (path for path in files(cache) if path.suffix != ".part")
    assert is_small(read_bundle(place))
    assert len(files(cache)) <= 2, "at most one half file lies beside it"
    assert restored.restore(shipped)[0] == place
    assert files(cache) == [place], "and the next who writes takes it away"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
def test_a_kill_before_any_access_leaves_nothing_half_written(cache: Path, shipped: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_TURN, str(shipped)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = list(map(int, done.stdout.split()))
    assert whole == sorted(whole), "first it is not there, then it is"
    assert len(whole) > 5 < whole.count(0) < len(whole)


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :],
        lambda data: b"something else",
    ],
)
def test_a_damaged_file_is_restored_again(cache: Path, shipped: Path, damage: Damage) -> None:
    restored.read(shipped)
    (place,) = files(cache)
    place.write_bytes(damage(place.read_bytes()))
    assert is_small(restored.read(shipped))
    assert files(cache) == [place]
    assert is_small(read_bundle(place))


def test_another_bundle_under_its_name_is_not_believed(cache: Path, shipped: Path) -> None:
    """Whole and with right hashes, but not what was shipped."""
    restored.read(shipped)
    (place,) = files(cache)
    write_bundle(place, {**toy_manifest(), "notice": "Another."}, toy_parts())
    assert is_small(restored.read(shipped))
    assert is_small(read_bundle(place))


@posix
def test_nothing_is_written_through_a_link(cache: Path, shipped: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    restored.read(shipped)
    (place,) = files(cache)
    for link in (place, place.with_name(place.name + ".part")):
        link.unlink(missing_ok=True)
        link.symlink_to(precious)
    assert is_small(restored.read(shipped))
    assert precious.read_bytes() == b"precious"
    assert not place.is_symlink()


def test_writers_of_one_file_do_not_meet(shipped: Path, tmp_path: Path) -> None:
    """Nor does what somebody else keeps beside it."""
    out, own = tmp_path / "out.bundle", tmp_path / "out.bundle.part"
    own.write_bytes(b"of somebody else")
    errors: list[Exception] = []
    restored.restore(shipped, out)

    def write() -> None:
        try:
            for _ in range(25):
                restored.restore(shipped, out)
                read_bundle(out)
        except (OSError, BundleError) as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert is_small(read_bundle(out))
    assert own.read_bytes() == b"of somebody else"
    assert sorted(left.name for left in tmp_path.iterdir()) == [out.name, own.name, shipped.name]


@posix
def test_a_file_of_one_s_own_gets_the_usual_mode(shipped: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        restored.restore(shipped, tmp_path / "out.bundle")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.bundle").stat().st_mode) == 0o640


def test_the_shipped_file_is_not_replaced(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shipped)
    for out in (shipped, tmp_path / "link"):
        with pytest.raises(ValueError, match="is a file that is read"):
            restored.restore(shipped, out)
    assert shipped.read_bytes() == small_shipped()


# Each user's own


def test_the_folder_is_the_user_s_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KBENGINE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cachefolder.cache_folder().name == "kbengine"
    if sys.platform == "linux":
        assert cachefolder.cache_folder() == tmp_path / "kbengine"
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "other"))
    assert cachefolder.cache_folder() == tmp_path / "other"


@posix
def test_no_one_else_can_look_in(cache: Path, shipped: Path) -> None:
    cache.mkdir(parents=True, mode=0o755)
    cache.chmod(0o755)
    restored.read(shipped)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    (place,) = files(cache)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="gives a folder away")
def test_another_s_folder_is_not_used(cache: Path, shipped: Path) -> None:
    cache.mkdir(parents=True)
    os.chown(cache, 54321, 54321)
    assert is_small(restored.read(shipped))
    assert files(cache) == []
    with pytest.raises(PermissionError, match="belongs to someone else; set KBENGINE_CACHE"):
        restored.restore(shipped)


# As much as there is room for


def version(number: int) -> bytes:
    """A shipped file of another bundle."""
    manifest, members = shipped_members()
    return archived({**manifest, "bundle": {**manifest["bundle"], "version": str(number)}}, members)


def test_those_used_longest_ago_make_room(cache: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.shipped" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(version(number))
    sizes = [restored.read(path).file_bytes for path in paths[:3]]
    one = max(sizes) + 100_000  # what a manifest may have
    for age, number in enumerate([1, 2, 0]):
        place = restored._place(restored.look(paths[number]).manifest)
        os.utime(place, (age, age))
    restored.read(paths[1])
    kept = restored.read(paths[3], total_bytes=sum(sizes[:2]) + one)
    left = {read_bundle(place).manifest["version"] for place in files(cache)}
    assert left == {"0", "1", "3"}, "2 was used longest ago"
    assert kept.manifest["version"] == "3"


def test_without_room_it_is_restored_in_memory(cache: Path, shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "other").write_bytes(bytes(10_000))
    assert restored.read(shipped, total_bytes=100_000).file_bytes == len(small_shipped())
    assert files(cache) == []
    assert (tmp_path / "cache" / "other").exists()


# Where nothing can be written


def test_without_a_folder_it_is_restored_in_memory(
    tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KBENGINE_CACHE", str(tmp_path / "file" / "cache"))
    found = restored.read(shipped)
    assert is_small(found)
    assert found.file_bytes == len(small_shipped())
    assert kbengine.load(shipped).suggest("see you t")
    with pytest.raises(OSError, match="file"):
        restored.restore(shipped)


# Root, who may write anywhere, becomes somebody whom the system does not know.
READ_AS_SOMEBODY = """
import os, sys
from pathlib import Path
import platformdirs
from kbengine import cli, restored
# Loads what somebody else may not be able to find.
assert cli.main(["models", "restore", sys.argv[1], "--out", sys.argv[1] + ".bundle"]) == 0
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(54321)
    os.setuid(54321)
print(restored.read(Path(sys.argv[1])).file_bytes)
assert cli.main(["models", "restore", sys.argv[1]]) == 1
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may look into, with a shipped file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "small.shipped").write_bytes(small_shipped())
        (folder / "small.shipped").chmod(0o644)
        yield folder


def read_as_somebody(folder: Path, **variables: str) -> tuple[int, str]:
    """The bytes of the file that somebody opens for the shipped one there, and why the verb does
    not restore it."""
    names = ("HOME", "XDG_CACHE_HOME", "KBENGINE_CACHE")
    rest = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_SOMEBODY, str(folder / "small.shipped")],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**rest, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]), done.stderr


@posix
def test_a_folder_for_reading_alone_serves_as_none(public: Path) -> None:
    cache = public / "cache"
    cache.mkdir()
    cache.chmod(0o555)
    file_bytes, error = read_as_somebody(public, KBENGINE_CACHE=str(cache))
    assert file_bytes == len(small_shipped()), "opened from the shipped file itself"
    assert "cannot be used (Permission denied); give another path" in error
    assert list(cache.iterdir()) == []


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="becomes somebody else")
def test_without_a_home_it_is_restored_in_memory(public: Path) -> None:
    """As in a container that runs as a number."""
    file_bytes, error = read_as_somebody(public)
    assert file_bytes == len(small_shipped())
    assert error == "kbengine: this user has no home folder; set KBENGINE_CACHE to a folder\n"


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on files stands for a full disk")
def test_a_full_disk_does_not_matter(cache: Path, shipped: Path) -> None:
    """The system refuses to write the file on, in the middle of it."""
    program = """
import json, resource, sys
from pathlib import Path
from kbengine import cachefolder, restored
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
found = restored.read(Path(sys.argv[1]))
left = [p.name for p in (cachefolder.cache_folder() / "restored").iterdir() if p.suffix != ".lock"]
print(json.dumps([found.file_bytes, sorted(found.parts), left]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(shipped)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [len(small_shipped()), sorted(small_whole().parts), []]


def test_a_lock_that_is_held_too_long_is_not_waited_for(
    cache: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restored, "_WAIT_S", 0.1)
    place = restored._place(small_whole().manifest)
    with locks.alone(place.with_suffix(".lock"), 1):
        assert is_small(restored.read(shipped))
    assert files(cache) == []


@pytest.mark.soak
def test_forged_files_load_or_are_refused(cache: Path, shipped: Path) -> None:
    """Through the cache, where each may have been before."""
    for seed in range(times(60, 5000)):
        draw = random.Random(seed)
        shipped.write_bytes(draw.choice(hostile.BYTES)(small_shipped(), draw))
        try:
            found = restored.read(shipped)
        except BundleError:
            continue
        assert is_small(found), seed
