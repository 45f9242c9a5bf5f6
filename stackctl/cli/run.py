"""`stackctl run -- COMMAND`: run a Python program instrumented, with no change to its code."""

from typing import Annotated

import typer

from stackctl.cli.context import DataDirFlag, options


def run(
    ctx: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, after `--`.")],
    capture_content: Annotated[
        bool, typer.Option("--capture-content", help="Let the program's telemetry hold prompts and completions.")
    ] = False,
    ask_usage: Annotated[
        bool,
        typer.Option(
            "--ask-usage",
            help="Ask servers for the tokens of streams; the program sees no usage chunk it did not ask for.",
        ),
    ] = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Run a Python program instrumented: its calls to models, their tokens and times go to the running stack.

    Works with the program's own interpreter. Exit code and signals are the program's own.
    """
    import os

    from stackctl.launch import Telemetry, check, environment, interpreter_of, service_name
    from stackctl.launch.environment import HTTP_PROTOBUF
    from stackctl.runtime.state import find

    words = interpreter_of(command, os.environ)
    interpreter = check(words, os.environ) if words else None
    stack = find(options(ctx, data_dir).data_dir)
    telemetry = Telemetry(
        otlp_grpc=stack.url("otlp_grpc"),
        otlp_http=stack.url("otlp_http"),
        service_name=service_name(command),
        protocol=interpreter.protocol if interpreter else HTTP_PROTOBUF,
        capture_content=capture_content,
        token=stack.token(),
        ask_usage=ask_usage,
    )
    # The program takes this process's place, so that its exit code and every signal are its own.
    os.execvpe(command[0], command, environment(os.environ, telemetry, checked=interpreter is not None))


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run)
