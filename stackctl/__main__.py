"""The `stackctl` command, also as `python -m stackctl`."""

import sys

INTERRUPTED_EXIT = 130


def main() -> None:
    """Run the command line; a Ctrl-C while it is still being loaded ends as quietly as a later one."""
    try:
        from stackctl.cli.app import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT)


if __name__ == "__main__":
    main()
