"""The HTTP APIs of the query process: Prometheus and Tempo."""
