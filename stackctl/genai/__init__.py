"""What an LLM call means, as data: dialects, accounting, prices, derived values, metrics and content rules.

Nothing here runs over spans. `stackctl.embedded.columns` executes these rows on Arrow columns; the Collector's
configuration is text rendered from the same rows.
"""
