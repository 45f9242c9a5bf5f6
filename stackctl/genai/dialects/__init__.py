"""The dialects, one file each: which library writes a canonical key under which name.

Order matters only where two dialects could fill one key of one span: the first row that gives a value wins.
"""

from typing import Final

from stackctl.genai.dialects import demo, genai_openai, openai_v2
from stackctl.genai.rows import Dialect

DIALECTS: Final[tuple[Dialect, ...]] = (genai_openai.DIALECT, openai_v2.DIALECT, demo.DIALECT)
