"""Traces: the calls worth opening: newest, failed, slow at the first token, expensive, made up."""

from stackctl.boards import house

CALL = (
    " | select(resource.service.name, span.gen_ai.request.model, span.gen_ai.response.time_to_first_chunk,"
    " span.gen_ai.usage.input_tokens, span.gen_ai.usage.output_tokens, span.stackctl.cost.usd)"
)

dashboard = house.Board(
    __file__,
    title="Traces",
    description="Which calls are worth opening: newest, failed, slow at the first token, expensive, made up?",
    extra=(
        house.number_input("slow", "Slow first token (s)", 1),
        house.number_input("expensive", "Expensive call (USD)", 0.001),
    ),
    rows=[
        house.row(
            "Newest",
            house.trace_table(
                "Newest calls",
                "Inference calls, newest first. A click opens the whole trace, from question to answer.",
                "{ span.stackctl.accounted = true }" + CALL,
                limit=40,
            ),
        ),
        house.row(
            "Worth a look",
            house.trace_table(
                "Failed calls",
                "Calls that ended in an error, newest first.",
                "{ span.stackctl.accounted = true && status = error }"
                " | select(resource.service.name, span.gen_ai.request.model, span.error.type)",
                width=12,
            ),
            house.trace_table(
                "Slow first tokens",
                "Calls whose first token took longer than the time typed in above.",
                "{ span.stackctl.accounted = true && span.gen_ai.response.time_to_first_chunk > $slow }"
                " | select(resource.service.name, span.gen_ai.request.model, span.gen_ai.response.time_to_first_chunk)",
                width=12,
            ),
            house.trace_table(
                "Expensive calls",
                "Calls that cost more than the amount typed in above.",
                "{ span.stackctl.accounted = true && span.stackctl.cost.usd > $expensive }"
                " | select(resource.service.name, span.gen_ai.request.model, span.stackctl.cost.usd,"
                " span.gen_ai.usage.input_tokens, span.gen_ai.usage.output_tokens)",
                width=12,
            ),
            house.trace_table(
                "Calls without a known cost",
                "Calls whose model has no price (unpriced), or that reported no tokens (no_usage).",
                '{ span.stackctl.accounted = true && span.stackctl.cost.status != "priced" }'
                " | select(resource.service.name, span.gen_ai.request.model, span.stackctl.cost.status)",
                width=12,
            ),
        ),
    ],
)
