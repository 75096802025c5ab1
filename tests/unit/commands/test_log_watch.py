# SPDX-License-Identifier: Apache-2.0
"""What is watched of a log on its way: its size, its ends, its marks, and whether it is text."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ooMtrace.commands.log_watch import MAX_EXAMPLE, SAMPLE, SEAM, TAIL, LogWatch

LATEST = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
MARK = b"Killed process "
KILL = b"Memory cgroup out of memory: Killed process 9 (a) total-vm:40kB"


def line(second: int, text: bytes = b"usb 1-1: new device") -> bytes:
    return b"[%5d.000000] %s\n" % (second, text)


def watched(*blocks: bytes) -> LogWatch:
    watch = LogWatch(LATEST)
    assert list(watch.pass_on(blocks)) == list(blocks)
    return watch


def seconds(watch: LogWatch) -> tuple[int | None, int | None]:
    """Return the times of the first and the last line."""
    ends = (watch.first, watch.last)
    first, last = (None if end is None or end.ktime is None else end.ktime // 1_000_000_000 for end in ends)
    return first, last


def test_every_block_is_passed_on_and_counted():
    assert watched(b"abc", b"", b"defgh").size == 8


def test_the_ends_are_the_first_and_the_last_line_of_the_kernel():
    watch = watched(b"no kernel\n" + line(1) + line(2), line(3), line(4) + line(5) + b"no kernel\n")

    assert seconds(watch) == (1, 5)


def test_a_log_of_many_short_blocks_has_its_last_line_whole():
    whole = line(1) + line(2) + line(3)

    assert seconds(watched(*(whole[at : at + 7] for at in range(7 * 4, len(whole), 7)))) == (None, 3)


def test_the_tail_of_a_long_block_is_its_end():
    filler = b"x" * (2 * TAIL) + b"\n"

    assert seconds(watched(line(1) + filler + line(7))) == (1, 7)


def test_where_the_tail_is_another_programs_the_last_line_is_the_last_with_the_kernels_tag_or_the_first():
    noise = b"Nov 24 03:00:01 web sshd[7]: hello\n" * 1000
    tagged = b"Nov 24 02:0%d:01 web kernel: usb 1-1: new device\n"
    watch = watched(noise + tagged % 1 + noise, noise + tagged % 2 + noise, noise)
    assert watch.first is not None
    assert watch.last is not None
    assert watch.first.wall is not None
    assert watch.last.wall is not None
    assert watch.last.wall - watch.first.wall == 60_000_000_000

    assert seconds(watched(line(1) + noise)) == (1, 1)


def test_lines_of_other_programs_alone_have_no_ends():
    assert seconds(watched(b"Nov 24 03:00:01 web sshd[7]: hello\n" * 3)) == (None, None)


@pytest.mark.parametrize(
    ("block", "is_text"),
    [
        (b"plain\n\ttext\r\n", True),
        (b"\0" * 1000 + b"after a power loss\n", True),
        (b"\x1b[31mred\x1b[0m\n" * 20, True),
        (bytes(range(256)) * 20, False),
        (b"", True),
    ],
)
def test_control_characters_tell_text_from_other_data(block, is_text):
    assert watched(block).is_text is is_text


def test_only_the_beginning_decides_whether_it_is_text():
    noise = bytes(range(1, 32)) * 200
    text = b"text\n" * (SAMPLE // 5)

    assert watched(text + b"t" * (SAMPLE - len(text)), noise).is_text
    assert not watched(text[: SAMPLE // 2], noise).is_text


@pytest.mark.parametrize("at", range(1, len(KILL)))
def test_a_mark_counts_once_wherever_the_blocks_are_cut(at):
    watch = watched(line(1) + KILL[:at], KILL[at:] + b"\n" + line(2))

    is_shared = KILL.find(MARK) < at < KILL.find(MARK) + len(MARK)
    assert watch.kill_marks == 1
    assert watch.example == KILL.decode() if is_shared else "Killed process" in watch.example


def test_marks_in_blocks_shorter_than_a_mark_are_counted_once():
    assert watched(*(KILL[at : at + SEAM // 2] for at in range(0, len(KILL), SEAM // 2))).kill_marks == 1


def test_all_marks_are_counted_and_the_first_is_the_example_shortened():
    first = b"1 " + KILL + b"x" * MAX_EXAMPLE + b"\n"
    filler = b"x" * (2 * TAIL) + b"\n"
    watch = watched(first + b"2 " + KILL + b"\n", filler, b"3 " + KILL + b"\n")

    assert watch.kill_marks == 3
    assert watch.example == first[:MAX_EXAMPLE].decode()


def test_marks_are_counted_only_until_that_is_no_longer_needed():
    watch = LogWatch(LATEST)
    for block in watch.pass_on([KILL + b"\n", KILL + b"\n"]):
        assert block
        watch.count_marks = False

    assert watch.kill_marks == 1


def test_a_last_line_without_a_newline_is_whole():
    assert watched(line(1) + KILL).example == KILL.decode()
