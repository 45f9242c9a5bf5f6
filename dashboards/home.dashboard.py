"""Home: are all LLM applications well, what do they cost, and which one needs a look?"""

from stackctl.boards import house, limits, links, measures

dashboard = house.Board(
    __file__,
    title="Home",
    description="Are all LLM applications well, what do they cost, and which one needs a look?",
    rows=[
        house.row(
            "In the range shown",
            house.stat(
                "Calls",
                "Inference calls, failed ones too. Agents, workflows and other wrappers around a call do not count.",
                "short",
                "sum(increase(llm_requests_total[$__range] anchored))",
                empty="no calls",
                traces="{ span.stackctl.accounted = true }",
            ),
            house.stat(
                "Failed calls",
                "Share of calls that ended in an error.",
                "percentunit",
                measures.failed(),
                limit=limits.ERROR_SHARE,
                empty="no calls",
                traces="{ span.stackctl.accounted = true && status = error }",
            ),
            house.stat(
                "First token, p95",
                "95 of 100 streamed calls showed their first token within this time.",
                "s",
                measures.quantile(0.95, "llm_time_to_first_token_seconds"),
                limit=limits.FIRST_TOKEN,
                empty="no streams",
                traces="{ span.stackctl.accounted = true && span.gen_ai.response.time_to_first_chunk > 1.0 }",
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
            house.stat(
                "Cost",
                "Sum over the calls whose price and usage are known. Who is not in it stands beside it.",
                "currencyUSD",
                "sum(increase(llm_cost_usd_total[$__range] anchored))",
                empty="none priced",
                traces="{ span.stackctl.accounted = true && span.stackctl.cost.usd > 0.0 }",
            ),
            house.stat(
                "Calls not in the cost",
                "Share of calls whose model has no price, or that reported no usage. So the cost is a lower bound.",
                "percentunit",
                measures.uncosted(),
                limit=limits.UNCOSTED_SHARE,
                empty="no calls",
                traces='{ span.stackctl.accounted = true && span.stackctl.cost.status != "priced" }',
            ),
        ),
        house.row(
            "Which one needs a look",
            house.table(
                "Applications",
                "Everything above, one line per application. A click on a name opens its latency.",
                ("service_name", "Application"),
                house.Column(
                    "Calls", "short", "sum by (service_name) (increase(llm_requests_total[$__range] anchored))"
                ),
                house.Column(
                    "Failed",
                    "percentunit",
                    measures.failed(by="service_name"),
                    limits.ERROR_SHARE,
                ),
                house.Column(
                    "First token, p95",
                    "s",
                    measures.quantile(0.95, "llm_time_to_first_token_seconds", by="service_name"),
                    limits.FIRST_TOKEN,
                ),
                house.Column(
                    "Output speed, p50",
                    "suffix: tok/s",
                    measures.quantile(0.5, "llm_output_tokens_per_second", by="service_name"),
                    limits.OUTPUT_RATE,
                ),
                house.Column(
                    "Hallucinated",
                    "percentunit",
                    measures.hallucinated(by="service_name"),
                    limits.HALLUCINATION_SHARE,
                ),
                house.Column(
                    "Tokens", "short", "sum by (service_name) (increase(llm_tokens_total[$__range] anchored))"
                ),
                house.Column(
                    "Cost", "currencyUSD", "sum by (service_name) (increase(llm_cost_usd_total[$__range] anchored))"
                ),
                house.Column(
                    "Not in the cost",
                    "percentunit",
                    measures.uncosted(by="service_name"),
                    limits.UNCOSTED_SHARE,
                ),
                link=links.to_board("latency", "Latency of this application", "service", "Application"),
            ),
        ),
        house.row(
            "Over time",
            house.timeseries(
                "Calls a second by application",
                "How busy each application is.",
                "reqps",
                {"{{service_name}}": "sum by (service_name) (rate(llm_requests_total[$__rate_interval]))"},
                traces="{ span.stackctl.accounted = true }",
            ),
            house.timeseries(
                "Failed calls by application",
                "Share of each application's calls that ended in an error.",
                "percentunit",
                {"{{service_name}}": measures.failed(measures.MOMENT, by="service_name")},
                limit=limits.ERROR_SHARE,
                traces="{ span.stackctl.accounted = true && status = error }",
            ),
            house.timeseries(
                "First token by application, p95",
                "95 of 100 streamed calls of each application showed their first token within this time.",
                "s",
                {
                    "{{service_name}}": measures.quantile(
                        0.95, "llm_time_to_first_token_seconds", measures.MOMENT, by="service_name"
                    )
                },
                limit=limits.FIRST_TOKEN,
                traces="{ span.stackctl.accounted = true && span.gen_ai.response.time_to_first_chunk > 1.0 }",
            ),
        ),
    ],
)
