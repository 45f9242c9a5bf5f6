"""The content rules stay cheap: RE2 gives up its fast automaton on large programs, and ingest falls to a quarter."""

import pytest
import re2

from stackctl.genai import content

# Counted repeats over Unicode classes multiply: `[\\pL]{1,64}` four times is 345,000 instructions.
MOST_INSTRUCTIONS = 5_000


@pytest.mark.parametrize("form", list(content.Form), ids=lambda form: form.name)
def test_each_form_is_a_small_program(form: content.Form) -> None:
    """No form's pattern is so large that RE2 runs out of memory for its automaton."""
    assert re2.compile(form.value).programsize <= MOST_INSTRUCTIONS


@pytest.mark.parametrize("secret", content.SECRETS, ids=lambda secret: secret.stand_in)
def test_each_secret_is_a_small_program(secret: content.Secret) -> None:
    """The same for the patterns of secrets."""
    assert re2.compile(secret.pattern).programsize <= MOST_INSTRUCTIONS
