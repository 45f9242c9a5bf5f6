"""Reading stored spans: TraceQL compiled to SQL on DuckDB, and traces put together again as OTLP."""
