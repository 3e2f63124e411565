"""The cache folder, its locks, and the logs in it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.errors import ServerStartError, ToolchainError
from modelport.runtime import cache, logs

HOLDER = """
import sys
from modelport.runtime import cache
with cache.lock("it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ToolchainError, match=cache.VARIABLE):
        cache.folder("triton")


def test_a_lock_is_waited_for_and_free_when_its_holder_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        # Called when the lock is held by another; killing it is what lets us in.
        with cache.lock("it", on_wait=holder.kill):
            assert holder.wait() == -signal.SIGKILL


def test_only_the_last_logs_are_kept() -> None:
    for _ in range(logs.KEEP + 3):
        logs.new_path().touch()
    assert len(list(cache.folder("logs").glob("*.log"))) == logs.KEEP


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerStartError, match="log cannot be written"):
        logs.usable(tmp_path / "file" / "log")


def test_complaints_leave_out_what_every_machine_without_gpu_says(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        'E1122 14:01:16.088487 5624 metrics.cc:1] "CUDA driver version is insufficient"\n'
        'I1122 14:01:16.088515 5624 server.cc:1] "no error here"\n'
        'E1122 14:01:16.088515 5624 main.cc:535] "failed to start"\n'
        "tritonserver: unrecognized option '--x'\n"
    )
    assert logs.Log.whole(path).complaints() == [
        '"failed to start"',
        "tritonserver: unrecognized option '--x'",
    ]


def test_the_log_of_a_running_server_stays_when_the_clock_is_put_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    folder = cache.folder("logs")
    for second in range(logs.KEEP):
        (folder / f"server-209901{second + 1:02}T000000.000000-1-abcd.log").touch()
    mine = logs.new_path()
    mine.touch()
    logs.new_path().touch()
    assert mine.is_file()
