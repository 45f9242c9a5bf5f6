"""RAG: how long retrieval takes, what it brings, and whether the answers stand on it."""

from stackctl.boards import house, limits, measures

RETRIEVALS = '{ span.gen_ai.operation.name = "retrieval" }'

dashboard = house.Board(
    __file__,
    title="RAG",
    description="How long does retrieval take, what does it bring, and do the answers stand on it?",
    extra=(house.number_input("slow_retrieval", "Slow retrieval (ms)", 100),),
    rows=[
        house.row(
            "In the range shown",
            house.stat(
                "Retrievals",
                "Searches for context, failed ones included.",
                "short",
                "sum(increase(rag_retrieval_duration_seconds_count[$__range] anchored))",
                empty="none",
                traces=RETRIEVALS,
            ),
            house.stat(
                "Retrieval, p50",
                "The median retrieval was over after this time. It is waited for before the first token.",
                "s",
                measures.quantile(0.5, "rag_retrieval_duration_seconds"),
                limit=limits.RETRIEVAL,
                empty="none",
                traces=RETRIEVALS,
            ),
            house.stat(
                "Retrieval, p95",
                "95 of 100 retrievals were over within this time.",
                "s",
                measures.quantile(0.95, "rag_retrieval_duration_seconds"),
                limit=limits.RETRIEVAL,
                empty="none",
                traces=RETRIEVALS,
            ),
            house.stat(
                "Documents a retrieval",
                "Mean number of documents that a retrieval returned.",
                "short",
                "sum(increase(rag_retrieved_documents_sum[$__range] anchored))"
                " / sum(increase(rag_retrieved_documents_count[$__range] anchored))",
                empty="not reported",
                traces=RETRIEVALS,
            ),
            house.stat(
                "Retrievals without a document",
                "Share of retrievals that found nothing: what follows cannot be grounded.",
                "percentunit",
                'sum(increase(rag_retrieved_documents_bucket{le=~"0|0.0"}[$__range] anchored))'
                " / sum(increase(rag_retrieved_documents_count[$__range] anchored))",
                limit=limits.ERROR_SHARE,
                empty="not reported",
                traces='{ span.gen_ai.operation.name = "retrieval" && span.stackctl.rag.retrieved_documents = 0 }',
            ),
            house.stat(
                "Hallucinated answers",
                "Share of judged answers with a claim that the retrieved text does not support.",
                "percentunit",
                measures.hallucinated(),
                limit=limits.HALLUCINATION_SHARE,
                empty="none judged",
                traces='{ span.gen_ai.evaluation.score.label = "hallucinated" }',
            ),
        ),
        house.row(
            "Over time",
            house.timeseries(
                "Retrieval",
                "How long retrievals took.",
                "s",
                {
                    "p50": measures.quantile(0.5, "rag_retrieval_duration_seconds", measures.MOMENT),
                    "p95": measures.quantile(0.95, "rag_retrieval_duration_seconds", measures.MOMENT),
                },
                limit=limits.RETRIEVAL,
                traces=RETRIEVALS,
            ),
            house.timeseries(
                "Documents and hallucinations",
                "Do answers get worse when retrieval brings less? Left: documents. Right: hallucinated answers.",
                "short",
                {
                    "documents a retrieval": "sum(rate(rag_retrieved_documents_sum[$__rate_interval]))"
                    " / sum(rate(rag_retrieved_documents_count[$__rate_interval]))",
                    "hallucinated answers": measures.hallucinated(measures.MOMENT),
                },
                right={"hallucinated answers": "percentunit"},
                traces=RETRIEVALS,
            ),
            house.heatmap(
                "Documents, all retrievals",
                "How many retrievals returned how many documents.",
                "short",
                "sum by (le) (increase(rag_retrieved_documents_bucket[$__rate_interval]))",
                traces=RETRIEVALS,
            ),
        ),
        house.row(
            "Which ones",
            house.trace_table(
                "Slow retrievals",
                "Retrievals that took longer than the time typed in above. A click opens the whole trace.",
                '{ span.gen_ai.operation.name = "retrieval" && duration > ${slow_retrieval}ms }'
                " | select(resource.service.name, span.gen_ai.data_source.id, span.stackctl.rag.retrieved_documents)",
            ),
        ),
    ],
)
