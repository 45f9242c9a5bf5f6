"""Quality: how many answers are made up, how relevant and complete they are, and whether the judge can be believed."""

from stackctl.boards import house, limits, measures

HALLUCINATED = '{ span.gen_ai.evaluation.score.label = "hallucinated" }'

dashboard = house.Board(
    __file__,
    title="Quality",
    description="How many answers are made up, how relevant and complete are they, and does the judge work?",
    rows=[
        house.row(
            "In the range shown",
            house.stat(
                "Hallucinated answers",
                "Share of judged answers with a claim that the retrieved text does not support.",
                "percentunit",
                measures.hallucinated(),
                limit=limits.HALLUCINATION_SHARE,
                empty="none judged",
                traces=HALLUCINATED,
            ),
            house.stat(
                "Of how many",
                "Hallucinated answers, and all that the judge gave a verdict on. A share of few answers says little.",
                "short",
                {
                    "hallucinated": measures.hallucinated_answers(),
                    "judged": measures.judged_answers(),
                },
                empty="none judged",
                traces=HALLUCINATED,
            ),
            house.stat(
                "Relevance",
                "Mean score from 0 to 1: does the answer speak about the question?",
                "none",
                measures.mean_score("relevance"),
                limit=limits.SCORE,
                empty="none judged",
                traces='{ span.gen_ai.evaluation.name != "" }',
            ),
            house.stat(
                "Completeness",
                "Mean score from 0 to 1: does the answer say all that the retrieved text offers to the question?",
                "none",
                measures.mean_score("completeness"),
                limit=limits.SCORE,
                empty="none judged",
                traces='{ span.gen_ai.evaluation.name != "" }',
            ),
            house.stat(
                "Judge failures",
                "Share of evaluations that ended in an error of the judge, so without a verdict.",
                "percentunit",
                measures.unjudged(),
                limit=limits.ERROR_SHARE,
                empty="none judged",
                traces='{ span.gen_ai.evaluation.name != "" && status = error }',
            ),
        ),
        house.row(
            "Over time",
            house.timeseries(
                "Hallucinated answers by application",
                "Share of each application's judged answers with a claim that the retrieved text does not support.",
                "percentunit",
                {"{{service_name}}": measures.hallucinated(measures.MOMENT, by="service_name")},
                limit=limits.HALLUCINATION_SHARE,
                traces=HALLUCINATED,
            ),
            house.timeseries(
                "Verdicts a minute",
                "How many answers were judged, and how. No verdicts over busy times: the judge does not run.",
                "short",
                {
                    "{{gen_ai_evaluation_score_label}}": "sum by (gen_ai_evaluation_score_label)"
                    ' (rate(llm_evaluations_total{gen_ai_evaluation_name="hallucination"}[$__rate_interval])) * 60'
                },
                stacked=True,
                traces='{ span.gen_ai.evaluation.name != "" }',
            ),
            house.timeseries(
                "Mean scores",
                "Relevance and completeness, from 0 to 1: the more the better.",
                "none",
                {
                    "{{gen_ai_evaluation_name}}": "sum by (gen_ai_evaluation_name)"
                    ' (rate(llm_evaluation_score_sum{gen_ai_evaluation_name!="hallucination"}[$__rate_interval]))'
                    " / sum by (gen_ai_evaluation_name)"
                    ' (rate(llm_evaluation_score_count{gen_ai_evaluation_name!="hallucination"}[$__rate_interval]))'
                },
                traces='{ span.gen_ai.evaluation.name != "" }',
            ),
        ),
        house.row(
            "Which answers",
            house.trace_table(
                "Answers to look at",
                "Evaluations that found a claim without support, newest first. A click opens the whole trace.",
                '{ span.gen_ai.evaluation.score.label = "hallucinated" }'
                " | select(resource.service.name, span.gen_ai.evaluation.name, span.gen_ai.evaluation.score.value)",
            ),
        ),
    ],
)
