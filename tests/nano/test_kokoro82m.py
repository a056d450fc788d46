"""What Kokoro says, and when it says each word."""

import kokoro82m

TIMES = [("h", 0.0, 0.1), ("i", 0.1, 0.2), (",", 0.2, 0.4), (" ", 0.4, 0.45), ("ð", 0.45, 0.5)]


def test_a_word_lasts_from_its_first_phoneme_to_its_last() -> None:
    assert kokoro82m.spans(TIMES) == [(0.0, 0.2), (0.45, 0.5)]
    assert kokoro82m.spans([]) == []


def test_words_that_espeak_runs_together_are_asked_for_one_by_one() -> None:
    known = {"in the": "ɪnðə", "in": "ɪn", "the sun": "ðə sʌn", "sun in": "sʌn ɪn", "sun": "sʌn"}
    asked = []

    def phonemize(words: str) -> str:
        asked.append(words)
        return known.get(words, f"<{words}>")

    known["the sun in"] = "ðə sʌn ɪn"
    assert kokoro82m.apart("in the sun in", phonemize) == "ɪn ðə sʌn ɪn"
    assert asked[-2:] == ["in", "the sun in"]
    assert kokoro82m.apart("sun", phonemize) == "sʌn"


def test_a_model_gets_one_more_output_and_keeps_every_byte() -> None:
    model = b"\x08\x07" + b"\x3a\x00"
    longer = kokoro82m.timed(model)
    assert longer.startswith(model)
    added = longer[len(model) :]
    assert added[0] == 7 << 3 | 2  # ModelProto.graph
    assert added[1] == len(added) - 2 < 128
    assert added.count(b"duration") == 2
    assert kokoro82m.DURATIONS.encode() in added
