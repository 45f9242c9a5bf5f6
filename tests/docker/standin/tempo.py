"""The stand-in for Tempo: the embedded engine's Tempo API and OTLP port, in an image of its own in place of `/tempo`.

`/tempo -health` asks whether it is ready, as Tempo's own does; anything else starts it. The engine listens on loopback,
where it asks for no token; what comes to the container's own ports is passed on to it.
"""

import asyncio
import signal
import sys
import urllib.request

READY = "http://127.0.0.1:3200/ready"
PORTS = {4317: 14317, 3200: 13200}  # of the container: of the engine
ENGINE = (
    *(sys.executable, "-m", "stackctl", "up", "--runtime", "embedded", "--foreground", "--console", "none"),
    *("--data-dir", "/var/tempo/stackctl"),
    *("--ports", "otlp_grpc=14317,otlp_http=14318,prometheus=19090,tempo=13200"),
)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the sender ends."""
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(outer: int, inner: int) -> asyncio.Server:
    """Listen on a port of the container."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_engine, to_engine = await asyncio.open_connection("127.0.0.1", inner)
        except OSError:  # it is still starting
            writer.close()
            return
        await asyncio.gather(pump(reader, to_engine), pump(from_engine, writer))
        writer.close()
        to_engine.close()

    return await asyncio.start_server(connected, "0.0.0.0", outer)


async def main() -> int:
    """Run the engine and the ports until told to stop."""
    servers = [await serve(outer, inner) for outer, inner in PORTS.items()]
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    while True:  # a start that a busy machine made too long is tried again, as Tempo itself would just take longer
        engine = await asyncio.create_subprocess_exec(*ENGINE)
        ended, told = asyncio.create_task(engine.wait()), asyncio.create_task(stopping.wait())
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            if engine.returncode is None:
                engine.terminate()
            break
        told.cancel()
    code = await ended
    for server in servers:
        server.close()
    return code


if __name__ == "__main__":
    if "-health" in sys.argv:
        with urllib.request.urlopen(READY, timeout=5) as answer:
            sys.exit(0 if answer.status == 200 else 1)
    sys.exit(asyncio.run(main()))
