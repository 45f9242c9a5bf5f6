"""The dialects, one file each: which library writes a canonical key under which name.

Order matters only where two dialects could fill one key of one span: the first row that gives a value wins, so the
libraries that are told by their scope come before the general spellings.
"""

from typing import Final

from stackctl.genai.dialects import (
    anthropic_sdk,
    botocore,
    demo,
    genai_openai,
    langfuse,
    litellm,
    logfire,
    mistral_sdk,
    openai_v2,
    openinference,
    openlit,
    openllmetry,
    pydantic_ai,
    vercel,
)
from stackctl.genai.rows import Dialect

DIALECTS: Final[tuple[Dialect, ...]] = (
    litellm.DIALECT,
    vercel.DIALECT,
    langfuse.DIALECT,
    openlit.DIALECT,
    pydantic_ai.DIALECT,
    anthropic_sdk.DIALECT,
    mistral_sdk.DIALECT,
    openinference.DIALECT,
    openllmetry.DIALECT,
    botocore.DIALECT,
    logfire.DIALECT,
    genai_openai.DIALECT,
    openai_v2.DIALECT,
    demo.DIALECT,
)
