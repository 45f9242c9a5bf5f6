"""The rows of `stackctl.genai` executed on Arrow columns: from decoded spans to the spans that are counted and stored.

Pipeline    normalise, account, price, derive, redact, in this order
Batch       a table's columns, with the reading of a row's sources
holds       which records of a batch a row's condition takes
kept_by     which setting would keep a key that redaction dropped
"""

from .batch import Batch
from .conditions import holds
from .pipeline import Pipeline
from .redact import kept_by

__all__ = ["Batch", "Pipeline", "holds", "kept_by"]
