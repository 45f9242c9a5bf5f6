"""Metrics of the embedded engine: derived from spans, received over OTLP, kept as samples, read by PromQL.

derive.Derivation      processed spans or evaluations -> Increments
increments.Increments  what a batch adds; travels in the span log beside its spans
head.Head              the one writer of samples: counters, ticks, applications' own metrics
reader.SampleReader    the query process's side: log and blocks as a PromQL storage

Nothing is imported here: the query process starts without what only ingest needs.
"""
