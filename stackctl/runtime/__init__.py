"""The only starter of processes and containers: choose a runtime, start it, prove it, find it again, stop it.

- `up`: which runtime, and its steps; `embedded_up` and `docker_up`: those steps; `start`: what one run has found
- `engine`, `images`, `containers`: what the Docker engine says; `compose`, `project`: what it is told, in files
- `supervisor`: the process that keeps processes of ours running
- `state`: the file by which every command finds the stack
- `probe`: a span and a sample sent in and read back
- `ports`, `logs`, `log_source`, `down`, `status`: what their names say
"""
