"""The Collector's configuration as text: the second executor of the rows in `stackctl.genai`.

`render.files(CollectorSettings(...))` gives the files that lie beside each other in `/etc/otelcol-contrib`:
`config.yaml` and the price book `prices.csv`. The default settings' files are committed as `compose/otelcol/`.

What the configuration takes for granted of the containers around it:

    otelcol     listens on 4317 and 4318 (OTLP), 13133 (health), 8888 (its own metrics) and 8889 (the catalogue's
                series, scraped); writes below /var/lib/otelcol, which user 10001 must be able to write;
                started in /etc/otelcol-contrib or not: no path in the configuration is relative.
    tempo       takes OTLP/gRPC on 4317, without TLS.
    prometheus  takes OTLP on http://prometheus:9090/api/v1/otlp, so it is started with
                --web.enable-otlp-receiver
                --enable-feature=exemplar-storage,created-timestamp-zero-ingestion,promql-extended-range-selectors
                and scrapes otelcol:8888 and otelcol:8889 as compose/prometheus/prometheus.yml says. Retention is
                the command line's: --storage.tsdb.retention.time and --storage.tsdb.retention.size.
"""
