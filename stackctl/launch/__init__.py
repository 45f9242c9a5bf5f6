"""The environment in which an application runs instrumented under its own interpreter, with no change to its code."""

from stackctl.launch.environment import Telemetry, environment
from stackctl.launch.interpreter import Interpreter, check, interpreter_of, service_name

__all__ = ["Interpreter", "Telemetry", "check", "environment", "interpreter_of", "service_name"]
