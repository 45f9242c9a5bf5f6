"""Answers for short texts are remembered, those for long ones are not held."""

import gc
import weakref

from stackctl.genai import content
from stackctl.remembering import LONGEST, Memory, remembers


class Text(str):
    """A text that tells when nobody holds it any more."""

    __slots__ = ("__weakref__",)


def test_long_texts_are_not_held() -> None:
    """A short text is asked about once; a long one each time, and it goes when its sender's request goes."""
    asked = []

    @remembers(8)
    def size(text: str, more: int = 0) -> int:
        asked.append(len(text))
        return len(text) + more

    for length in (LONGEST, LONGEST + 1):
        assert [size("x" * length), size("x" * length), size("x" * length, more=1)] == [length, length, length + 1]
    assert asked == [LONGEST] * 2 + [LONGEST + 1] * 3


def test_what_senders_choose_is_let_go() -> None:
    """Keys, names, units, scopes and labels of any length are judged without being kept."""
    judges = (
        content.keep_key, content.is_content, content.form_of, content.is_plain_key, content.span_name,
        content.scope_name, content.scope_version, content.metric_name, content.metric_unit, content.label_word,
    )  # fmt: skip
    for judge in judges:
        text = Text("k" * 100_000)
        held = weakref.ref(text)
        judge(text)
        del text
        gc.collect()
        assert held() is None, judge


def test_a_memory_is_bounded_by_what_is_in_it() -> None:
    """What is put there is found until it would be full, and something large is not taken in at all."""
    memory = Memory[int, str](160)
    for number in range(40):
        memory.put(number, str(number), 10)
        found = [n for n in range(40) if memory.get(n) is not None]
        assert found[-1] == number
        assert len(found) <= 16
        assert all(memory.get(n) == str(n) for n in found)
    memory.put(99, "large", 11)
    assert memory.get(99) is None
