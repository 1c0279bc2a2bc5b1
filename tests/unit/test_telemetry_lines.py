"""Lines that go to a file: complete, in order, never waited for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from extproc.telemetry.lines import Lines


def until(holds: object, *, tries: int = 2000) -> None:
    """Waits for another thread."""
    pause = threading.Event()
    for _ in range(tries):
        if holds():  # type: ignore[operator]
            return
        pause.wait(0.005)
    raise TimeoutError


def test_lines_reach_the_file_in_order_and_after_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    lines = Lines(path)
    for number in range(1000):
        lines.put(b"%d\n" % number)
    lines.close()
    assert path.read_bytes() == b"before\n" + b"".join(b"%d\n" % number for number in range(1000))
    assert (lines.written, lines.dropped) == (1000, 0)


def test_a_file_that_was_renamed_or_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = Lines(path, every_s=0.01)
    lines.put(b"one\n")
    until(lambda: path.read_bytes() == b"one\n")
    path.rename(tmp_path / "log.1")
    until(path.exists)
    lines.put(b"two\n")
    until(lambda: path.read_bytes() == b"two\n")
    path.unlink()
    until(path.exists)
    lines.put(b"three\n")
    lines.close()
    assert path.read_bytes() == b"three\n"
    assert (tmp_path / "log.1").read_bytes() == b"one\n"


def test_a_folder_that_goes_and_comes_back_is_written_to_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    lines = Lines(path, every_s=0.01)
    path.parent.rename(tmp_path / "aside")
    lines.reopen()
    lines.put(b"one\n")
    until(lambda: "cannot be written" in caplog.text)
    path.parent.mkdir()
    until(path.exists)
    lines.put(b"two\n")
    lines.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_reopen_does_not_wait_for_the_next_flush(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = Lines(path, every_s=3600)
    path.rename(tmp_path / "log.1")
    lines.reopen()
    until(path.exists)
    lines.close()


def test_what_the_target_does_not_take_is_bounded_and_counted(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    lines = Lines(fifo, most_bytes=1 << 16, every_s=0.01)
    line = b"x" * 1023 + b"\n"
    for _ in range(2000):
        lines.put(line)
    until(lambda: lines.dropped > 0)
    assert lines.dropped + (1 << 17) // len(line) + 1 >= 2000 - 1024  # the pipe's buffer, one batch and what waits
    taken = lines.dropped
    os.set_blocking(reader, True)
    drain = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")], daemon=True)
    drain.start()
    until(lambda: lines.written + taken == 2000)
    lines.put(b"more\n")
    lines.close()
    assert (lines.written, lines.dropped) == (2001 - taken, taken)


def test_a_full_disk_loses_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    lines = Lines(Path("/dev/full"), every_s=0.01)
    lines.put(b"one\n")
    until(lambda: lines.dropped == 1)
    lines.put(b"two\n")
    until(lambda: lines.dropped == 2)
    lines.close()
    assert lines.written == 0
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Lines(tmp_path / "no" / "folder")
