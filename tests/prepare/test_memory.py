from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orpheus_clone.prepare.memory import Memory, key_of

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(value=PLAIN)
def test_what_was_kept_is_recalled(value: object, tmp_path_factory: object) -> None:
    memory = Memory(Path(str(tmp_path_factory.getbasetemp())) / "memory")  # type: ignore[attr-defined]
    memory.keep("words", "a" * 64, value)
    assert memory.recall("words", "a" * 64) == value


def test_what_was_never_kept_or_was_damaged_is_not_there(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.recall("words", "x") is None
    memory.keep("words", "x", [1, 2])
    assert memory.recall("voice", "x") is None
    (tmp_path / "words" / "x.json").write_bytes(b"[1, 2")
    assert memory.recall("words", "x") is None


def test_a_key_is_of_all_that_it_is_made_of_in_order() -> None:
    assert key_of("a", 1) == key_of("a", 1)
    assert len({key_of("a", 1), key_of(1, "a"), key_of("a"), key_of("a", None), key_of("a1")}) == 5
