"""The command line: parses, calls, renders. The only package that knows Typer and Rich, and the only one that prints."""
