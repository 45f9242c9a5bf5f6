"""The embedded engine: what the Collector, Tempo and Prometheus do, in two processes made of pip packages.

`python -m stackctl.embedded.ingest CONFIG.json` receives, counts and stores;
`python -m stackctl.embedded.query CONFIG.json` answers. They share nothing but files: one writes, the other
reads. Nothing else imports this package.
"""
