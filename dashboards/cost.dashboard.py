"""Cost: what is spent, on what and by whom, how much of it is known, and whether the budget holds."""

from stackctl.boards import house, limits, measures

PRICED = "{ span.stackctl.accounted = true && span.stackctl.cost.usd > 0.0 }"
NOT_PRICED = '{ span.stackctl.accounted = true && span.stackctl.cost.status != "priced" }'

dashboard = house.Board(
    __file__,
    title="Cost",
    description="What is spent, on what and by whom, how much of it is known, and does the budget hold?",
    extra=(house.number_input("budget", "Budget a month (USD)", 100),),
    range="6h",
    rows=[
        house.row(
            "In the range shown",
            house.stat(
                "Cost",
                "Sum over the calls whose price and usage are known. Who is not in it stands beside it.",
                "currencyUSD",
                "sum(increase(llm_cost_usd_total[$__range] anchored))",
                empty="none priced",
                traces=PRICED,
            ),
            house.stat(
                "Calls not in the cost",
                "Share of calls whose model has no price, or that reported no usage. So the cost is a lower bound.",
                "percentunit",
                measures.uncosted(),
                limit=limits.UNCOSTED_SHARE,
                empty="no calls",
                traces=NOT_PRICED,
            ),
            house.stat(
                "Cost of a call",
                "Mean over the calls whose cost is known.",
                "currencyUSD",
                "sum(increase(llm_cost_usd_total[$__range] anchored))"
                ' / sum(increase(llm_cost_requests_total{cost_status="priced"}[$__range] anchored))',
                empty="none priced",
                traces=PRICED,
            ),
            house.stat(
                "A month at this pace",
                "Known cost if 30 days went as the range shown did.",
                "currencyUSD",
                "sum(rate(llm_cost_usd_total[$__range] anchored)) * 30 * 86400",
                empty="none priced",
                traces=PRICED,
            ),
            house.gauge(
                "Budget at this pace",
                "Known cost of 30 days at the pace of the range shown, as a share of the budget typed in above.",
                "percentunit",
                "sum(rate(llm_cost_usd_total[$__range] anchored)) * 30 * 86400 / $budget",
                limit=limits.BUDGET_SHARE,
                maximum=1.5,
                empty="none priced",
            ),
        ),
        house.row(
            "Over time",
            house.timeseries(
                "Cost an hour by model",
                "Known cost at the pace of each moment.",
                "currencyUSD",
                {
                    "{{gen_ai_request_model}}": "sum by (gen_ai_request_model)"
                    " (rate(llm_cost_usd_total[$__rate_interval])) * 3600"
                },
                stacked=True,
                traces=PRICED,
                width=12,
            ),
            house.timeseries(
                "Calls a second by what is known of their cost",
                "Only priced calls are in the cost. Unpriced: no price for the model. No usage: no token counts came.",
                "reqps",
                {"{{cost_status}}": "sum by (cost_status) (rate(llm_cost_requests_total[$__rate_interval]))"},
                stacked=True,
                traces=NOT_PRICED,
                width=6,
            ),
            house.piechart(
                "What it was paid for",
                "Known cost by kind of token. Input is what no cache was read or written for.",
                "currencyUSD",
                {
                    "{{gen_ai_token_type}}": "sum by (gen_ai_token_type)"
                    " (increase(llm_cost_usd_total[$__range] anchored))"
                },
                width=6,
            ),
        ),
        house.row(
            "On what and by whom",
            house.table(
                "Models",
                "A model without a price has no cost here, not a cost of zero.",
                ("gen_ai_request_model", "Model"),
                house.Column(
                    "Cost",
                    "currencyUSD",
                    "sum by (gen_ai_request_model) (increase(llm_cost_usd_total[$__range] anchored))",
                ),
                house.Column(
                    "Calls",
                    "short",
                    "sum by (gen_ai_request_model) (increase(llm_cost_requests_total[$__range] anchored))",
                ),
                house.Column(
                    "Not in the cost",
                    "percentunit",
                    measures.uncosted(by="gen_ai_request_model"),
                    limits.UNCOSTED_SHARE,
                ),
                house.Column(
                    "Cost of a call",
                    "currencyUSD",
                    "sum by (gen_ai_request_model) (increase(llm_cost_usd_total[$__range] anchored))"
                    " / sum by (gen_ai_request_model)"
                    ' (increase(llm_cost_requests_total{cost_status="priced"}[$__range] anchored))',
                ),
            ),
            house.table(
                "Applications",
                "What each application spent, and how much of its calls the sum does not hold.",
                ("service_name", "Application"),
                house.Column(
                    "Cost", "currencyUSD", "sum by (service_name) (increase(llm_cost_usd_total[$__range] anchored))"
                ),
                house.Column(
                    "Calls", "short", "sum by (service_name) (increase(llm_cost_requests_total[$__range] anchored))"
                ),
                house.Column(
                    "Not in the cost",
                    "percentunit",
                    measures.uncosted(by="service_name"),
                    limits.UNCOSTED_SHARE,
                ),
            ),
        ),
    ],
)
