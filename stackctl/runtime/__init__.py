"""The only starter of processes: choose a runtime, start it, prove that it works, find it again, stop it.

- `up`: the named steps from settings to a proven stack
- `supervisor`: the process that keeps the engine's two processes running
- `state`: the file by which every command finds the stack
- `probe`: a span and a sample sent in and read back
- `ports`, `logs`, `down`, `status`: what their names say
"""
