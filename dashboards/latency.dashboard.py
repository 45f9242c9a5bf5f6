"""Latency and TTFT: how long users wait, for the first token and for the last, and where."""

from stackctl.boards import house, limits, measures

SLOW_FIRST_TOKEN = "{ span.stackctl.accounted = true && span.gen_ai.response.time_to_first_chunk > 1.0 }"
SLOW_CALL = "{ span.stackctl.accounted = true && duration > 10s }"

dashboard = house.Board(
    __file__,
    title="Latency and TTFT",
    description="How long users wait, for the first token and for the last, and where?",
    rows=[
        house.row(
            "In the range shown",
            house.stat(
                "First token, p50",
                "The median streamed call showed its first token after this time.",
                "s",
                measures.quantile(0.5, "llm_time_to_first_token_seconds"),
                limit=limits.FIRST_TOKEN,
                empty="no streams",
                traces=SLOW_FIRST_TOKEN,
            ),
            house.stat(
                "First token, p95",
                "95 of 100 streamed calls showed their first token within this time.",
                "s",
                measures.quantile(0.95, "llm_time_to_first_token_seconds"),
                limit=limits.FIRST_TOKEN,
                empty="no streams",
                traces=SLOW_FIRST_TOKEN,
            ),
            house.stat(
                "Last token, p50",
                "The median call was over after this time, embeddings left out.",
                "s",
                measures.quantile(0.5, "llm_request_duration_seconds", where='gen_ai_operation_name!="embeddings"'),
                limit=limits.REQUEST,
                empty="no calls",
                traces=SLOW_CALL,
            ),
            house.stat(
                "Last token, p95",
                "95 of 100 calls were over within this time, embeddings left out.",
                "s",
                measures.quantile(0.95, "llm_request_duration_seconds", where='gen_ai_operation_name!="embeddings"'),
                limit=limits.REQUEST,
                empty="no calls",
                traces=SLOW_CALL,
            ),
            house.stat(
                "First tokens within 1 s",
                "Share of streamed calls whose first token came within 1 s; later, trains of thought break.",
                "percentunit",
                'sum(increase(llm_time_to_first_token_seconds_bucket{le=~"1|1[.]0"}[$__range] anchored))'
                " / sum(increase(llm_time_to_first_token_seconds_count[$__range] anchored))",
                limit=limits.PROMPT_SHARE,
                empty="no streams",
                traces=SLOW_FIRST_TOKEN,
            ),
        ),
        house.row(
            "Time to first token",
            house.timeseries(
                "First token",
                "Half of the streamed calls were faster than p50, 95 of 100 faster than p95. Dots lead to traces.",
                "s",
                {
                    "p50": measures.quantile(0.5, "llm_time_to_first_token_seconds", measures.MOMENT),
                    "p95": measures.quantile(0.95, "llm_time_to_first_token_seconds", measures.MOMENT),
                },
                limit=limits.FIRST_TOKEN,
                traces=SLOW_FIRST_TOKEN,
            ),
            house.heatmap(
                "First token, all calls",
                "How many streamed calls took how long: two bands are two kinds of calls, warm and cold models say.",
                "s",
                "sum by (le) (increase(llm_time_to_first_token_seconds_bucket[$__rate_interval]))",
                traces=SLOW_FIRST_TOKEN,
            ),
        ),
        house.row(
            "Where",
            house.timeseries(
                "First token by model, p95",
                "95 of 100 streamed calls of each model showed their first token within this time.",
                "s",
                {
                    "{{gen_ai_request_model}}": measures.quantile(
                        0.95, "llm_time_to_first_token_seconds", measures.MOMENT, by="gen_ai_request_model"
                    )
                },
                limit=limits.FIRST_TOKEN,
                traces=SLOW_FIRST_TOKEN,
            ),
            house.bargauge(
                "Slowest models, first token p95",
                "Models by the time within which 95 of 100 streamed calls showed their first token, slowest on top.",
                "s",
                {
                    "{{gen_ai_request_model}}": "sort_desc(histogram_quantile(0.95, sum by (gen_ai_request_model, le)"
                    " (increase(llm_time_to_first_token_seconds_bucket[$__range] anchored))))"
                },
                limit=limits.FIRST_TOKEN,
                traces=SLOW_FIRST_TOKEN,
            ),
        ),
        house.row(
            "To the last token",
            house.timeseries(
                "Last token",
                "How long calls took to the end, embeddings left out.",
                "s",
                {
                    "p50": measures.quantile(
                        0.5,
                        "llm_request_duration_seconds",
                        measures.MOMENT,
                        where='gen_ai_operation_name!="embeddings"',
                    ),
                    "p95": measures.quantile(
                        0.95,
                        "llm_request_duration_seconds",
                        measures.MOMENT,
                        where='gen_ai_operation_name!="embeddings"',
                    ),
                },
                limit=limits.REQUEST,
                traces=SLOW_CALL,
            ),
            house.timeseries(
                "Last token by operation, p95",
                "Chats, embeddings and other operations apart: 95 of 100 were over within this time.",
                "s",
                {
                    "{{gen_ai_operation_name}}": measures.quantile(
                        0.95, "llm_request_duration_seconds", measures.MOMENT, by="gen_ai_operation_name"
                    )
                },
                traces=SLOW_CALL,
            ),
        ),
    ],
)
