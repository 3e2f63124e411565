from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.client import regions
from modelport.client.regions import Region, is_orphan, remove_orphans

SHM = Path("/dev/shm")


def made_by_another(script: str = "") -> str:
    code = f"from modelport.client.regions import Region\nr = Region(4096)\nprint(r.name)\n{script}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_region_is_a_file_until_it_is_unlinked() -> None:
    region = Region(8192)
    file = SHM / region.name
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (8192, 0o600)
    region.memory[:3] = 7
    assert file.read_bytes()[:4] == b"\x07\x07\x07\0"
    region.unlink()
    region.unlink()
    assert not file.exists()
    region.memory[:] = 1  # the memory stays


def test_what_the_living_have_is_no_orphan() -> None:
    region = Region(4096)
    region.unlink()
    assert not is_orphan(region.name)


def test_what_the_dead_have_is_and_its_file_is_removed() -> None:
    left = made_by_another()
    assert is_orphan(left)
    assert (SHM / left).exists()
    own = Region(4096)
    remove_orphans()
    assert not (SHM / left).exists()
    assert (SHM / own.name).exists()
    own.unlink()


def test_a_process_with_the_number_of_a_dead_one_is_another() -> None:
    region = Region(4096)
    region.unlink()
    head, boot, space, pid, start, number = region.name.split("-")
    assert is_orphan("-".join([head, boot, space, pid, str(int(start) - 1), number]))


@pytest.mark.parametrize(
    "name",
    [
        "region",
        "modelport_client",
        "modelport_client-a-b-c-d-e",
        "modelport_client-00000000-1-999999999-1-0",  # of another boot
        f"other-{os.getpid()}-1-1-1-1",
    ],
    ids=lambda name: name.partition("-")[0] or "empty",
)
def test_what_others_have_is_not_ours_to_judge(name: str) -> None:
    assert not is_orphan(name)


def test_of_another_container_nothing_is_known() -> None:
    left = made_by_another("r.unlink()")
    head, boot, space, *rest = left.split("-")
    assert is_orphan(left)
    assert not is_orphan("-".join([head, boot, str(int(space) + 1), *rest]))


def test_more_than_there_is_is_refused_before_it_is_used() -> None:
    with pytest.raises(OSError, match=r"space|large|memory"):
        Region(regions.free_bytes() + (1 << 40))
    assert not [path for path in SHM.glob("modelport_client-*") if str(os.getpid()) in path.name]
