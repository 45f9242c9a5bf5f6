"""The command line: parses, calls, renders. The one package that knows Typer and Rich, and that prints."""
