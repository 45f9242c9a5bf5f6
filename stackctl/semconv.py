"""Every attribute, label and metric name that stackctl writes or reads, spelled once.

Attribute names are the OpenTelemetry GenAI conventions as of core v1.41 with the renames of the living text since
(`cache_write`): https://github.com/open-telemetry/semantic-conventions-genai. Names below `stackctl.` are ours: no
convention has a cost, a rate or an accounting mark.
"""

from typing import Final

# --- span and resource attributes ------------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_VERSION: Final = "service.version"
DEPLOYMENT_ENVIRONMENT: Final = "deployment.environment.name"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
STREAM: Final = "gen_ai.request.stream"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"  # seconds
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
API_TYPE: Final = "openai.api.type"
REQUEST_TIER: Final = "openai.request.service_tier"
RESPONSE_TIER: Final = "openai.response.service_tier"  # the one that is billed
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
TOOL_NAME: Final = "gen_ai.tool.name"
AGENT_NAME: Final = "gen_ai.agent.name"
USER_ID: Final = "user.id"
SESSION_ID: Final = "session.id"

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"

EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE: Final = "gen_ai.evaluation.score.value"
EVALUATION_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"

# --- ours ------------------------------------------------------------------------------------------------------------
ACCOUNTED: Final = "stackctl.accounted"  # bool: this span is one inference call that counts
TIME_TO_FIRST_TEXT: Final = "stackctl.time_to_first_text"  # seconds: set by `stackctl run` on streams
NESTED: Final = "stackctl.nested_inference"  # bool: set by `stackctl run` on an inference span inside another
COST_USD: Final = "stackctl.cost.usd"
COST_STATUS: Final = "stackctl.cost.status"  # priced, unpriced, no_usage
COST_INPUT_USD: Final = "stackctl.cost.input_usd"  # input tokens that were not cached
COST_CACHE_READ_USD: Final = "stackctl.cost.cache_read_usd"
COST_CACHE_WRITE_USD: Final = "stackctl.cost.cache_write_usd"
COST_OUTPUT_USD: Final = "stackctl.cost.output_usd"
STREAM_INCOMPLETE: Final = "stackctl.stream.incomplete"  # bool: a stream that broke off, whatever its status
OUTPUT_RATE: Final = "stackctl.output_tokens_per_second"
CONTEXT_UTILIZATION: Final = "stackctl.context.utilization"
RETRIEVED_DOCUMENTS: Final = "stackctl.rag.retrieved_documents"  # int: how many documents a retrieval returned
PRICED_PROVIDER: Final = "stackctl.price.provider"  # under which provider and model the price was found
PRICED_MODEL: Final = "stackctl.price.model"
SENT_COST_USD: Final = "stackctl.cost.sent_usd"  # the library's own figure, kept beside ours, never used
CONTENT_LENGTH_PREFIX: Final = "stackctl.content_length."  # int, characters: with the key of content that was cut

STATUS_PRICED: Final = "priced"
STATUS_UNPRICED: Final = "unpriced"
STATUS_NO_USAGE: Final = "no_usage"

# Operations that are one inference call, and the one of a retrieval.
INFERENCE_OPERATIONS: Final = ("chat", "text_completion", "generate_content", "embeddings")
RETRIEVAL_OPERATION: Final = "retrieval"
OTHER_MODEL: Final = "other"  # a model on metrics that is neither priced nor in models.extra

# --- metrics as they stand in Prometheus -----------------------------------------------------------------------------
LLM_REQUESTS: Final = "llm_requests_total"
LLM_INCOMPLETE_STREAMS: Final = "llm_incomplete_streams_total"
LLM_REQUEST_DURATION: Final = "llm_request_duration_seconds"
LLM_TIME_TO_FIRST_TOKEN: Final = "llm_time_to_first_token_seconds"
LLM_OUTPUT_RATE: Final = "llm_output_tokens_per_second"
LLM_TOKENS: Final = "llm_tokens_total"
LLM_TOKEN_DETAILS: Final = "llm_token_details_total"
LLM_COST: Final = "llm_cost_usd_total"
LLM_COST_REQUESTS: Final = "llm_cost_requests_total"
LLM_CONTEXT_UTILIZATION: Final = "llm_context_utilization_ratio"
LLM_PROMPT_TOKENS: Final = "llm_prompt_tokens"
LLM_EVALUATIONS: Final = "llm_evaluations_total"
LLM_EVALUATION_SCORE: Final = "llm_evaluation_score"
RAG_RETRIEVAL_DURATION: Final = "rag_retrieval_duration_seconds"
RAG_RETRIEVED_DOCUMENTS: Final = "rag_retrieved_documents"

# --- labels ----------------------------------------------------------------------------------------------------------
LABEL_SERVICE: Final = "service_name"
LABEL_ENVIRONMENT: Final = "deployment_environment_name"
LABEL_OPERATION: Final = "gen_ai_operation_name"
LABEL_PROVIDER: Final = "gen_ai_provider_name"
LABEL_REQUEST_MODEL: Final = "gen_ai_request_model"
LABEL_RESPONSE_MODEL: Final = "gen_ai_response_model"
LABEL_ERROR: Final = "error_type"
LABEL_TOKEN_TYPE: Final = "gen_ai_token_type"
LABEL_COST_STATUS: Final = "cost_status"
LABEL_OVERFLOW: Final = "otel_metric_overflow"  # OpenTelemetry's mark of what is beyond a cardinality limit
LABEL_EVALUATION: Final = "gen_ai_evaluation_name"
LABEL_SCORE_LABEL: Final = "gen_ai_evaluation_score_label"
EXEMPLAR_TRACE_ID: Final = "trace_id"

TOKEN_INPUT: Final = "input"
TOKEN_OUTPUT: Final = "output"
TOKEN_CACHE_READ: Final = "cache_read"
TOKEN_CACHE_WRITE: Final = "cache_write"
TOKEN_REASONING: Final = "reasoning"
