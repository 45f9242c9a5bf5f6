"""`python -m stackctl` is the `stackctl` command."""

from stackctl.cli.app import main

if __name__ == "__main__":
    main()
