"""opentelemetry-instrumentation-genai-openai 1.3b0 and what else writes the conventions' newest keys.

Its keys are the canonical ones. What is left are the conventions' own renames since core v1.28, which older releases
of any library on util-genai still send: https://github.com/open-telemetry/semantic-conventions-genai,
non-normative/migration.md.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.dialects.litellm import ESTIMATED, RENAMED
from stackctl.genai.dialects.openllmetry import LANGCHAIN
from stackctl.genai.rows import All, Dialect, Equals, Erase, Field, JsonList, MapValue, Matches, Not, Row, SpanAttr

# v1.33, v1.35 and v1.37 renamed values along with the key.
PROVIDER_NAMES: Final = MapValue(
    (
        ("az.ai.openai", "azure.ai.openai"),
        ("az.ai.inference", "azure.ai.inference"),
        ("vertex_ai", "gcp.vertex_ai"),
        ("gemini", "gcp.gemini"),
        ("xai", "x_ai"),
        # OpenLLMetry before it followed the conventions.
        ("OpenAI", "openai"),
        ("Anthropic", "anthropic"),
        ("Azure", "azure.ai.openai"),
        ("AWS", "aws.bedrock"),
        ("Cohere", "cohere"),
        ("Google", "gcp.gemini"),
        ("VertexAI", "gcp.vertex_ai"),
        ("MistralAI", "mistral_ai"),
        ("Groq", "groq"),
    )
)
# Words of libraries' own under the conventions' key: LiteLLM and who took its words, pydantic-ai, OpenLIT.
_WORDS: Final = MapValue(
    tuple(
        {
            **dict(RENAMED),
            **dict(PROVIDER_NAMES.pairs),
            "google": "gcp.gemini",
            "google-gla": "gcp.gemini",
            "google-cloud": "gcp.vertex_ai",
            "google-vertex": "gcp.vertex_ai",
            "mistralai": "mistral_ai",
            "moonshotai": "moonshot_ai",
            "grok": "x_ai",
            "x-ai": "x_ai",
        }.items()
    )
)
_PROVIDER: Final = SpanAttr(semconv.PROVIDER)
_REASONS: Final = SpanAttr(semconv.FINISH_REASONS)
_WRITTEN: Final = SpanAttr("gen_ai.usage.cache_creation.input_tokens")
# LiteLLM repeats what it counted itself under the old names.
_SENT: Final = Not(ESTIMATED)

DIALECT: Final = Dialect(
    name="GenAI conventions",
    erases=(
        Erase(semconv.FINISH_REASONS, Matches(_REASONS, r'^("?(null|None)"?|"")$'), why="a text that says `no reason`"),
    ),
    rows=(
        Row(semconv.PROVIDER, SpanAttr("gen_ai.system"), PROVIDER_NAMES, why="renamed in v1.37"),
        Row(
            semconv.PROVIDER,
            _PROVIDER,
            _WORDS,
            Equals(_PROVIDER, tuple(word for word, _ in _WORDS.pairs)),
            why="a provider has one name, under which it is priced too",
        ),
        Row(
            semconv.FINISH_REASONS,
            _REASONS,
            JsonList(),
            Matches(_REASONS, r"^([^\[]|\[')"),
            why="bare words, and lists as Python shows them: only a JSON list is told from free text and kept",
        ),
        Row(semconv.INPUT_TOKENS, SpanAttr("gen_ai.usage.prompt_tokens"), when=_SENT, why="renamed in v1.28"),
        Row(semconv.OUTPUT_TOKENS, SpanAttr("gen_ai.usage.completion_tokens"), when=_SENT, why="renamed in v1.28"),
        Row(
            semconv.CACHE_WRITE_TOKENS,
            _WRITTEN,
            when=Not(All((Equals(_WRITTEN, (0,)), Matches(Field("scope"), LANGCHAIN)))),
            why="v1.40 and v1.41 name, renamed on main; LangChain's is 0 where it splits what was written by lifetime",
        ),
        Row(semconv.REQUEST_TIER, SpanAttr("gen_ai.openai.request.service_tier"), why="renamed in v1.37"),
        Row(semconv.REQUEST_TIER, SpanAttr("gen_ai.request.service_tier"), why="as OpenLIT and others write it"),
        Row(semconv.RESPONSE_TIER, SpanAttr("gen_ai.openai.response.service_tier"), why="renamed in v1.37"),
        Row(semconv.RESPONSE_TIER, SpanAttr("gen_ai.response.service_tier"), why="as OpenLIT and others write it"),
    ),
    content=(
        r"gen_ai\.(input|output)\.messages",
        r"gen_ai\.system_instructions",
        r"gen_ai\.tool\.(definitions|description)",
        r"gen_ai\.tool\.call\.(arguments|result)",
        r"gen_ai\.retrieval\.(query\.text|documents)",
        r"gen_ai\.prompt\.variable\..*",
        r"gen_ai\.agent\.description",
        r"gen_ai\.memory\.records?",
        r"gen_ai\.request\.stop_sequences",
    ),
)
