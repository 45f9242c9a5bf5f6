"""Throughput: how much is asked and answered, how fast answers are written, and how full the prompts are."""

from stackctl.boards import house, limits, measures

SLOW_OUTPUT = "{ span.stackctl.accounted = true && span.stackctl.output_tokens_per_second < 15.0 }"
CALLS = "{ span.stackctl.accounted = true }"

dashboard = house.Board(
    __file__,
    title="Throughput",
    description="How much is asked and answered, how fast are answers written, and how full are the prompts?",
    rows=[
        house.row(
            "In the range shown",
            house.stat(
                "Input tokens",
                "Tokens of all prompts, cached ones included, as the provider counted them.",
                "short",
                'sum(increase(llm_tokens_total{gen_ai_token_type="input"}[$__range] anchored))',
                empty="no usage",
                traces=CALLS,
            ),
            house.stat(
                "Output tokens",
                "Tokens of all answers, reasoning included, as the provider counted them.",
                "short",
                'sum(increase(llm_tokens_total{gen_ai_token_type="output"}[$__range] anchored))',
                empty="no usage",
                traces=CALLS,
            ),
            house.stat(
                "Input read from cache",
                "Share of input tokens that the provider had in its cache, at a lower price.",
                "percentunit",
                'sum(increase(llm_token_details_total{gen_ai_token_type="cache_read"}[$__range] anchored))'
                ' / sum(increase(llm_tokens_total{gen_ai_token_type="input"}[$__range] anchored))',
                empty="none reported",
                traces="{ span.stackctl.accounted = true && span.gen_ai.usage.cache_read.input_tokens > 0 }",
            ),
            house.stat(
                "Output speed, p50",
                "Tokens a second once writing has begun, as the median call saw them. People read about 5 a second.",
                "suffix: tok/s",
                measures.quantile(0.5, "llm_output_tokens_per_second"),
                limit=limits.OUTPUT_RATE,
                empty="no streams",
                traces=SLOW_OUTPUT,
            ),
            house.stat(
                "Output speed, slowest 5 %",
                "5 of 100 streamed calls wrote slower than this.",
                "suffix: tok/s",
                measures.quantile(0.05, "llm_output_tokens_per_second"),
                limit=limits.OUTPUT_RATE,
                empty="no streams",
                traces=SLOW_OUTPUT,
            ),
        ),
        house.row(
            "Tokens",
            house.timeseries(
                "Tokens a second",
                "All applications together; input and output add up.",
                "suffix: tok/s",
                {"{{gen_ai_token_type}}": "sum by (gen_ai_token_type) (rate(llm_tokens_total[$__rate_interval]))"},
                stacked=True,
                traces=CALLS,
            ),
            house.timeseries(
                "Tokens a second by model",
                "Input and output together.",
                "suffix: tok/s",
                {
                    "{{gen_ai_request_model}}": "sum by (gen_ai_request_model)"
                    " (rate(llm_tokens_total[$__rate_interval]))"
                },
                stacked=True,
                traces=CALLS,
            ),
        ),
        house.row(
            "Speed",
            house.timeseries(
                "Output speed by model, p50",
                "Tokens a second once writing has begun, as the median call of each model saw them.",
                "suffix: tok/s",
                {
                    "{{gen_ai_request_model}}": measures.quantile(
                        0.5, "llm_output_tokens_per_second", measures.MOMENT, by="gen_ai_request_model"
                    )
                },
                limit=limits.OUTPUT_RATE,
                traces=SLOW_OUTPUT,
            ),
            house.timeseries(
                "Calls a second by model",
                "How often each model is called, failed calls included.",
                "reqps",
                {
                    "{{gen_ai_request_model}}": "sum by (gen_ai_request_model)"
                    " (rate(llm_requests_total[$__rate_interval]))"
                },
                traces=CALLS,
            ),
        ),
        house.row(
            "Prompts",
            house.timeseries(
                "Prompt length",
                "Input tokens of one call; what grows here is paid with every call.",
                "short",
                {
                    "p50": measures.quantile(0.5, "llm_prompt_tokens", measures.MOMENT),
                    "p95": measures.quantile(0.95, "llm_prompt_tokens", measures.MOMENT),
                },
                traces=CALLS,
            ),
            house.timeseries(
                "Context window in use by model, p95",
                "Prompt length as a share of what the model can take, where its window is known.",
                "percentunit",
                {
                    "{{gen_ai_request_model}}": measures.quantile(
                        0.95, "llm_context_utilization_ratio", measures.MOMENT, by="gen_ai_request_model"
                    )
                },
                limit=limits.CONTEXT_SHARE,
                traces="{ span.stackctl.accounted = true && span.stackctl.context.utilization > 0.7 }",
            ),
        ),
    ],
)
