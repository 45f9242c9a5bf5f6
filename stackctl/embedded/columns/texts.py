"""Text columns of kept keys, cleaned: the common case is judged on whole buffers, the rest once per distinct value.

Nearly all text is identifiers without secrets. Whether that is so is read from a column's bytes at once: a table
says which bytes a form allows, and one search looks for what every secret holds. Only a column that fails is taken
apart.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import re2

from stackctl.genai import content
from stackctl.genai.content import Form

from .arrow import Column
from .looks import Look

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"
# Bytes of which any sequence within the form's length has it. Text of other bytes may have it too: looked at closer.
_PLAIN_BYTES: Final = {
    Form.WORD: _LETTERS + _DIGITS + "._:/@+=#-",
    Form.ADDRESS: _LETTERS + _DIGITS + "._:/@+=#-",
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


def unclean(texts: Mapping[str, tuple[str, Look]]) -> list[str]:
    """Return the names of the columns that need cleaning, out of looks by name with their attribute keys.

    All columns of one form are judged together first, since most batches have nothing to clean.
    """
    groups: dict[Form, dict[str, Look]] = {}
    for name, (key, seen) in texts.items():
        form = content.form_of(key)
        if not _inert(form, seen):
            groups.setdefault(form, {})[name] = seen
    suspects: list[str] = []
    for form, looks in groups.items():
        whole = b"".join([seen.data for seen in looks.values()])
        if not _surely_clean(form, whole, max(seen.longest for seen in looks.values())):
            suspects += (
                name for name, seen in looks.items() if not _surely_clean(form, bytes(seen.data), seen.longest)
            )
    return suspects


def mask_text(column: Column, seen: Look) -> Column:
    """Return the column with secrets masked and long texts cut."""
    if _surely_clean(Form.TEXT, bytes(seen.data), seen.longest):
        return column
    return each_distinct(column, lambda text: content.mask(text[: content.TEXT_CAP]))


def each_distinct(column: Column, change: Callable[[str], str | None]) -> Column:
    """Return the column with a function applied once to each distinct text."""
    encoded = column.dictionary_encode()
    changed = pa.array([change(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return changed.take(encoded.indices)


def _inert(form: Form, seen: Look) -> bool:
    """Whether texts are of a form and hexadecimal, which no secret is: seen at a third of the cost of a closer look."""
    if not seen.longest:
        return True
    if form not in _HEX_FORMS or seen.longest > content.FORM_CAPS[form]:
        return False
    data = np.frombuffer(seen.data, np.uint8)
    if np.maximum.reduce(data) > _HEX[-1] or np.minimum.reduce(data) < _HEX[0]:
        return False
    # Between the digits and the letters: shifted to 0, and everything else behind.
    return bool(np.minimum.reduce(data - np.uint8(_HEX[9] + 1)) >= _HEX[10] - _HEX[9] - 1)


def _surely_clean(form: Form, data: bytes, longest: int) -> bool:
    if not data:
        return True
    if form is Form.TEXT:
        return longest <= content.TEXT_CAP and not _SECRET_LEAD.search(data)
    if form not in _ALLOWED or longest > content.FORM_CAPS[form]:
        return False
    # What is left without the allowed bytes: a fifth of the time of looking each byte up.
    return not data.translate(None, _ALLOWED[form]) and not _SECRET_LEAD.search(data)
