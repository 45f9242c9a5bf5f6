"""The demo and `stackctl.evals`: canonical keys, and our own where no convention has one.

A retrieval span has the operation `retrieval`, `gen_ai.data_source.id` and the number of documents in
`stackctl.rag.retrieved_documents`; applications that follow suit fill the RAG board as the demo does.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import Dialect

DIALECT: Final = Dialect(
    name="stackctl",
    content=(r"gen_ai\.evaluation\.explanation",),
    verbatim=(
        semconv.RETRIEVED_DOCUMENTS,
        semconv.NESTED,
        semconv.EVALUATION_NAME,
        semconv.EVALUATION_SCORE,
        semconv.EVALUATION_LABEL,
    ),
)
