"""The variables an instrumented program sees."""

from stackctl.launch import Telemetry, environment

STACK = Telemetry("127.0.0.1:4317", "http://127.0.0.1:4318", "shop")


def test_nothing_in_the_users_shell_leads_telemetry_elsewhere():
    """Endpoints, exporters and switches of the shell give way; everything else of the user's stays."""
    shell = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere:1",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_SDK_DISABLED": "true",
        "OPENAI_API_KEY": "sk-1",
        "HTTPS_PROXY": "http://proxy:1",
        "NO_PROXY": "internal",
    }
    found = environment(shell, STACK, checked=True)
    assert "elsewhere" not in "".join(found.values())
    assert "OTEL_SDK_DISABLED" not in found
    assert found["OTEL_TRACES_EXPORTER"] == "otlp"
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert found["OPENAI_API_KEY"] == "sk-1"
    assert found["HTTPS_PROXY"] == "http://proxy:1"  # the program's own calls still take the proxy
    assert found["NO_PROXY"].split(",") == ["internal", "127.0.0.1", "localhost", "::1"]


def test_the_users_service_name_stands():
    """A name set by variable or resource attribute is not replaced."""
    assert environment({"OTEL_SERVICE_NAME": "mine"}, STACK, checked=True)["OTEL_SERVICE_NAME"] == "mine"
    resource = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine"}
    assert "OTEL_SERVICE_NAME" not in environment(resource, STACK, checked=True)
    assert environment({}, STACK, checked=True)["OTEL_SERVICE_NAME"] == "shop"


def test_content_is_off_unless_asked_for():
    """A shell that captures content does not make us capture it; the flag does."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert environment({name: "span_and_event"}, STACK, checked=True)[name] == "no_content"
    asked = Telemetry("g", "h", "shop", capture_content=True)
    assert environment({}, asked, checked=True)[name] == "span_only"


def test_a_token_becomes_a_header():
    """A stack on the network asks for a bearer token; blanks are written as OTLP's variables want them."""
    found = environment({}, Telemetry("g", "h", "shop", token="t0"), checked=True)
    assert found["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer%20t0"
