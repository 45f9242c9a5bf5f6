"""The web console: boards, traces and the stack's health in a browser; a process of its own, started by name."""
