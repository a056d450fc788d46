"""A client's text: each utterance once, and the one that was cut off once more."""

import asyncio

from orpheus_clone.serve.lines import Lines

FIRST = (
    "The first sentence is so long that no other one is put beside it by who packs them for voices."
)
SECOND = "And the second is told after it."
TEXT = f"{FIRST} {SECOND}"


def test_what_was_not_heard_to_its_end_is_taken_again_and_only_that() -> None:
    begun: list[str] = []
    lines = Lines(begun=begun.append)
    lines.write(TEXT)
    lines.end()
    assert lines.take() == FIRST
    lines.again()
    assert (lines.is_there, lines.is_over) == (True, False)
    assert lines.take() == FIRST
    lines.spoken()
    lines.again()
    assert lines.take() == SECOND
    assert lines.is_over
    lines.again()
    assert not lines.is_over
    assert lines.take() == SECOND
    lines.spoken()
    lines.again()
    assert (lines.take(), lines.is_over) == (None, True)
    assert begun == [FIRST, FIRST, SECOND, SECOND]


def test_what_was_heard_to_its_end_is_counted() -> None:
    lines = Lines()
    lines.write(TEXT)
    lines.end()
    counts = [lines.spoken_characters]
    while lines.take():
        lines.again()
        lines.take()
        lines.spoken()
        counts.append(lines.spoken_characters)
    assert counts == [0, len(FIRST), len(FIRST) + len(SECOND)]


def test_a_text_that_is_written_began_when_its_first_utterance_was_taken() -> None:
    lines = Lines()
    lines.write(TEXT)
    lines.end()
    before = lines.began
    assert lines.began > before
    lines.take()
    began = lines.began
    lines.spoken()
    lines.take()
    assert lines.began == began > before
    assert Lines(began=7.0).began == 7.0


async def test_what_is_taken_again_waits_for_nothing() -> None:
    lines = Lines()
    lines.write("Hello. ")
    lines.flush()
    assert await lines.next() == "Hello."
    lines.again()
    assert await lines.next() == "Hello."


async def test_a_text_is_busy_while_something_of_it_is_spoken_or_is_to_be_spoken_now() -> None:
    lines = Lines()
    lines.write("Half a sentence, and")
    assert not lines.is_busy
    lines.flush()
    assert lines.is_busy
    await lines.next()
    assert (lines.is_there, lines.is_busy) == (False, True)
    lines.spoken()
    assert not lines.is_busy


async def test_what_had_nothing_to_say_is_over_once_the_next_is_wanted() -> None:
    lines = Lines()
    lines.write("<foo>")
    lines.flush()
    await lines.next()
    waiting = asyncio.ensure_future(lines.next())
    await asyncio.sleep(0)
    assert not lines.is_busy
    lines.again()
    assert not lines.is_there
    lines.end()
    assert await waiting is None
