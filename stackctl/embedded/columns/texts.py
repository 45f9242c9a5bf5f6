"""Text columns of kept keys, cleaned: the common case is judged on whole buffers, the rest once per distinct value.

Nearly all text is identifiers without secrets. Whether that is so is read from a column's bytes at once: a table
says which bytes a form allows, and one search looks for what every secret holds. Only a column that fails is taken
apart.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import re2

from stackctl.genai import content
from stackctl.genai.content import Form

from .arrow import Column, text_bytes

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"
# Bytes of which any sequence within the form's length has it. Text of other bytes may have it too: looked at closer.
_PLAIN_BYTES: Final = {
    Form.WORD: _LETTERS + _DIGITS + "._:/@+=#-",
    Form.CLASS: _LETTERS + "_",
    Form.ID: _LETTERS + _DIGITS + "._:/@+=#()|-",
    Form.MODEL: _LETTERS + _DIGITS + "._:/@+-",
    Form.ROUTE: _LETTERS + _DIGITS + "._:/@+=#{}<>*()-",
    Form.NAME: _LETTERS + _DIGITS + "._:/@+=#()|-",
}
_SECRET_LEAD: Final = re2.compile(content.SECRET_LEAD.encode())


_ALLOWED: Final = {form: letters.encode() for form, letters in _PLAIN_BYTES.items()}
# What ids are made of most often. No secret's lead can be: each has a letter or a sign beyond these.
_HEX: Final = b"0123456789abcdef"
_HEX_FORMS: Final = frozenset(form for form, allowed in _ALLOWED.items() if set(_HEX) <= set(allowed))


def unclean(columns: Mapping[str, tuple[str, Column]]) -> list[str]:
    """Return the names of the columns that need cleaning, out of columns by name with their attribute keys.

    All columns of one form are judged together first, since most batches have nothing to clean.
    """
    groups: dict[Form, list[str]] = {}
    for name, (key, _) in columns.items():
        groups.setdefault(content.form_of(key), []).append(name)
    suspects: list[str] = []
    for form, names in groups.items():
        cap = content.TEXT_CAP
        read = {name: text_bytes(columns[name][1]) for name in names}
        pieces = {name: _once(*piece) for name, piece in read.items() if not _inert(form, *piece)}
        if not pieces:
            continue
        whole = np.concatenate([data for data, _ in pieces.values()])
        if not _surely_clean(form, cap, whole, max(size for _, size in pieces.values())):
            suspects += (name for name, piece in pieces.items() if not _surely_clean(form, cap, *piece))
    return suspects


def mask_text(column: Column) -> Column:
    """Return the column with secrets masked and long texts cut."""
    if _surely_clean(Form.TEXT, content.TEXT_CAP, *text_bytes(column)):
        return column
    return each_distinct(column, lambda text: content.mask(text[: content.TEXT_CAP]))


def each_distinct(column: Column, change: Callable[[str], str | None]) -> Column:
    """Return the column with a function applied once to each distinct text."""
    encoded = column.dictionary_encode()
    changed = pa.array([change(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return changed.take(encoded.indices)


def _inert(form: Form, data: npt.NDArray[np.uint8], longest: int) -> bool:
    """Whether texts are of a form and hexadecimal, which no secret is: seen at a third of the cost of a closer look."""
    if form not in _HEX_FORMS or longest > content.FORM_CAPS[form]:
        return False
    if not len(data) or data.max() > _HEX[-1] or data.min() < _HEX[0]:
        return not len(data)
    # Between the digits and the letters: shifted to 0, and everything else behind.
    return bool((data - np.uint8(_HEX[9] + 1)).min() >= _HEX[10] - _HEX[9] - 1)


def _once(data: npt.NDArray[np.uint8], longest: int) -> tuple[npt.NDArray[np.uint8], int]:
    """The bytes without repetitions where all values are one text, as those of many columns of a batch are.

    Twice, so that they hold whatever is in a value, wherever in them it begins.
    """
    if longest and len(data) > 2 * longest:
        raw = data.tobytes()
        if raw == raw[:longest] * (len(raw) // longest):
            return data[: 2 * longest], longest
    return data, longest


def _surely_clean(form: Form, cap: int, data: npt.NDArray[np.uint8], longest: int) -> bool:
    if not len(data):
        return True
    if form is Form.TEXT:
        return longest <= cap and not _SECRET_LEAD.search(data.tobytes())
    if form not in _ALLOWED or longest > content.FORM_CAPS[form]:
        return False
    raw = data.tobytes()
    # What is left without the allowed bytes: a fifth of the time of looking each byte up.
    return not raw.translate(None, _ALLOWED[form]) and not _SECRET_LEAD.search(raw)
