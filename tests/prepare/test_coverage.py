from orpheus_clone.prepare.coverage import RARE, coverage


def test_letters_and_spellings_are_counted_without_case() -> None:
    found = coverage(["The THING", "a moon"], "en")
    assert found.letters["t"] == 2
    assert found.letters["o"] == 2
    assert found.spellings["th"] == 2
    assert found.spellings["oo"] == 1
    assert "z" in found.missing and "sion" in found.missing
    assert "oo" in found.rare


def test_what_is_as_frequent_as_the_limit_is_not_rare() -> None:
    assert "z" not in coverage(["z" * RARE], "en").rare
    assert "z" in coverage(["z" * (RARE - 1)], "en").rare


def test_groups_do_not_reach_over_two_texts() -> None:
    assert coverage(["at", "he"], "en").spellings["th"] == 0


def test_the_most_frequent_comes_first() -> None:
    assert list(coverage(["eeta"], "en").letters)[:3] == ["e", "a", "t"]


def test_of_an_unknown_language_letters_are_counted_and_none_is_missed() -> None:
    found = coverage(["Ωμέγα 5"], "el")
    assert found.letters == {"α": 1, "γ": 1, "έ": 1, "μ": 1, "ω": 1}
    assert found.spellings == {}
    assert found.missing == ()


def test_of_german_umlauts_are_missed() -> None:
    assert {"ä", "ß"} <= set(coverage(["Haus"], "de").missing)
