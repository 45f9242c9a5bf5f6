"""`stackctl up` on the docker runtime: the steps from settings to proven containers.

Whatever fails, also Ctrl-C: what this run had created is removed again, what ran before stays as far as it was not
replaced.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stackctl import __version__
from stackctl.errors import ComponentUnhealthy, EnvironmentLacks, Misuse, PackageMissing, PortTaken, StackctlError
from stackctl.files import console_pages
from stackctl.runtime import compose, containers, engine, images, ports, project, state
from stackctl.runtime.console import BUILTIN, ENDPOINT, GRAFANA
from stackctl.runtime.embedded_up import SERVED
from stackctl.runtime.ready import endpoints, is_loopback
from stackctl.runtime.start import (
    Start,
    end,
    engine_config,
    let_go,
    prove,
    spawn_supervisor,
    stop_supervisor,
    watch_components,
    watch_supervisor,
)
from stackctl.runtime.supervisor import CONSOLE_ONLY, config_path, digest
from stackctl.setting_values import AUTO
from stackctl.stack import COMPONENTS, EngineConfig

if TYPE_CHECKING:
    from docker import DockerClient

READY_SECONDS = 180.0  # Tempo alone is not ready for its first 15 s; a busy machine takes its time
PROOF_SECONDS = 60.0  # a sample is scraped on its way, a span may wait for a connection
# Of a stack that ran: gRPC waits up to 120 s, and a fifth more, before it asks a Tempo again that was away for long.
PROOF_AGAIN_SECONDS = 160.0
_PAUSE_SECONDS = 0.2
_SHOWN_LINES = 10
NO_CONSOLE = "none"


class DockerUp:
    """One run of `up` on the docker runtime.

    Args:
        running: the stack of an earlier `up`, which is brought to the settings; None where there is none.
    """

    def __init__(self, start: Start, running: state.RunningStack | None = None) -> None:
        self._start = start
        self._settings = start.loaded.settings
        self._running = running
        self._name = running.project if running and running.project else project.name_of(start.data_dir)
        self._console = NO_CONSOLE
        self._missing: dict[str, str] = {}
        self._before: containers.Belongings | None = None

    @cached_property
    def _client(self) -> "DockerClient":
        return engine.connect()

    @cached_property
    def _compose(self) -> compose.Compose:
        return compose.find()

    def check(self) -> None:
        """Make sure that this machine can run it: an engine, a compose command, images that are here or to be had.

        Raises:
            EnvironmentLacks: one is not there; the message says which.
        """
        if not is_loopback(self._settings.host):
            raise Misuse(
                f"host {self._settings.host}: the docker runtime's servers ask for no token, so they are on loopback",
                next_step=f"leave --host out; containers reach it in the Docker network {self._name}",
            )
        if self._start.foreground:
            raise Misuse(
                "the docker runtime has no foreground: its containers run under the Docker engine",
                next_step="leave --foreground out, or take --runtime embedded",
            )
        _ = self._client, self._compose
        images_needed = {name: image for name, image in self._settings.images.items() if name != GRAFANA}
        self._missing = images.missing(self._client, images_needed)
        for component, image in self._missing.items():
            images.check_registry(self._client, component, image)
        self._console = self._choose_console()

    def steps(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Return the steps after `check`, by name and in order."""
        return (
            ("getting the images", self._pull),
            ("checking the ports", self._choose_ports),
            ("writing the files", self._write),
            ("starting the containers", self._apply),
            ("waiting until they are ready", self._wait),
            ("starting the console", self._start_console),
            (
                "sending a probe and reading it back",
                lambda: prove(self._start, PROOF_AGAIN_SECONDS if self._running else PROOF_SECONDS),
            ),
            ("letting it run", lambda: let_go(self._start)),
        )

    def undo(self) -> None:
        """Take down what this run had started; a stack that ran before is left, for the user to look at."""
        stop_supervisor(self._start)
        if self._before is None:
            return
        now = containers.belongings(self._client, self._name)
        if self._running is not None or self._before.containers:
            return
        made = containers.Belongings(
            now.containers - self._before.containers,
            now.networks - self._before.networks,
            now.volumes - self._before.volumes,
        )
        containers.remove(self._client, made, self._start.tell)
        state.forget(self._start.data_dir)

    def _choose_console(self) -> str:
        """Return which console there will be; `auto` takes Grafana where its image can be had, else our own."""
        wanted = self._settings.console
        if wanted in (GRAFANA, AUTO):
            try:
                missing = images.missing(self._client, {GRAFANA: self._settings.images[GRAFANA]})
                for component, image in missing.items():
                    images.check_registry(self._client, component, image)
            except EnvironmentLacks as lack:
                if wanted == GRAFANA:
                    raise
                self._start.tell(f"{lack.message}: taking stackctl's own console")
            else:
                self._missing |= missing
                return GRAFANA
        if wanted == NO_CONSOLE:
            return NO_CONSOLE
        try:
            console_pages()
        except PackageMissing as missing_pages:
            if wanted == BUILTIN:
                raise
            self._start.tell(f"{missing_pages.message}; {missing_pages.next_step}")
            return NO_CONSOLE
        return BUILTIN

    def _pull(self) -> None:
        for component, image in self._missing.items():
            images.pull(self._client, component, image, self._start.at_step)
            self._start.tell(f"pulled {image}")

    def _choose_ports(self) -> None:
        """Choose the ports and make sure that they are free or ours already."""
        containers.refuse_foreign(self._client, self._name, self._compose_directory)
        self._before = containers.belongings(self._client, self._name)
        ours = containers.of_project(self._client, self._name).values()
        settings = self._settings
        served = SERVED if self._console == NO_CONSOLE else (*SERVED, ENDPOINT)
        kept = EngineConfig.read(config_path(self._start.data_dir)).ports if self._running else {}
        if settings.ports is None:
            new = [name for name in served if name not in kept]
            reserved = ports.reserve(new, settings.host, self._start.held)
            chosen = {name: kept[name] for name in served if name in kept} | reserved
        else:
            chosen = ports.default(served, {**{name: kept[name] for name in served if name in kept}, **settings.ports})
        held = containers.ports_held(ours) | (set(kept.values()) if self._running else set())
        self._check_free({name: port for name, port in chosen.items() if port not in held})
        self._start.config = engine_config(self._start.loaded, chosen)

    def _check_free(self, chosen: dict[str, int]) -> None:
        for name, port in chosen.items():
            try:
                ports.check({name: port}, self._settings.host)
            except PortTaken as taken:
                holder = containers.publisher(self._client, port)
                if holder is None:
                    raise
                raise PortTaken(
                    f"port {port} ({name}) is taken by the container {holder}",
                    next_step=f"stop it (docker stop {holder}), or take free ports: stackctl up --ports auto",
                ) from taken

    def _write(self) -> None:
        assert self._start.config is not None, "_choose_ports made it"
        path = config_path(self._start.data_dir)
        if self._running:
            before, after = asdict(EngineConfig.read(path)), asdict(self._start.config)
            self._start.applied = [
                f"{key}: {before[key]} -> {after[key]}" for key in after if before[key] != after[key]
            ]
        rendered = project.render(self._settings, self._name, self._start.config.ports, self._console == GRAFANA)
        if self._running:
            self._start.applied += rendered.changes()
        rendered.write()
        self._start.config.write(path)

    def _apply(self) -> None:
        """Let compose create what is new or changed, and remove what is no longer wanted."""
        profiles = [GRAFANA] if self._console == GRAFANA else []
        before = containers.of_project(self._client, self._name)
        try:
            self._compose.up(self._compose_directory, self._services, profiles, self._start.at_step)
        except StackctlError:
            self._tell_last_words()
            raise
        found = containers.of_project(self._client, self._name)
        unwanted = frozenset(one.id for one in found.values() if one.service == GRAFANA and not profiles)
        containers.remove(self._client, containers.Belongings(unwanted, frozenset(), frozenset()), self._start.tell)
        if self._running:
            for service in self._services:
                if service in before and before[service].id != found[service].id:
                    self._start.applied.append(f"{service}: its container was made anew")

    def _wait(self) -> None:
        """Wait until every component answers; give up at once when one ends."""
        began = time.monotonic()
        waiting = list(self._services)
        while waiting:
            found = containers.of_project(self._client, self._name)
            for service in list(waiting):
                self._refuse_dead(service, found)
                if found[service].state() == state.HEALTHY:
                    waiting.remove(service)
                    if self._running is None:
                        self._start.tell(f"{service} is ready after {time.monotonic() - began:.1f} s")
            if waiting and time.monotonic() - began > READY_SECONDS:
                for service in waiting:
                    self._show_log(found[service])
                raise ComponentUnhealthy(
                    f"{', '.join(waiting)} did not get ready within {READY_SECONDS:.0f} s",
                    next_step="see the lines above, then: stackctl up",
                )
            if waiting:
                self._start.at_step(f"waiting for {', '.join(waiting)} ({time.monotonic() - began:.0f} s)")
                time.sleep(_PAUSE_SECONDS)
        self._publish()

    def _publish(self) -> None:
        """Write the state file, by which the other commands find the stack; a supervisor that runs stays in it."""
        assert self._start.config is not None, "_choose_ports made it"
        kept = state.read(self._start.data_dir)
        supervised = kept is not None and kept.supervised()
        state.RunningStack(
            runtime=state.DOCKER,
            version=__version__,
            data_dir=self._start.data_dir,
            endpoints=endpoints(self._start.config),
            supervisor=kept.supervisor if kept and supervised else None,
            config=kept.config if kept and supervised else "",
            components=kept.components if kept and supervised else (),
            project=self._name,
            services=tuple(self._services),
        ).write()

    def _start_console(self) -> None:
        """Start our own console where it is wanted, end one that is not or that was started with other settings."""
        stack = state.find(self._start.data_dir)
        wanted = self._console == BUILTIN
        if stack.supervised() and (not wanted or stack.config != digest(self._start.data_dir)):
            assert stack.supervisor is not None, "supervised"
            end(stack.supervisor)
            self._publish()
        elif stack.supervised():
            return
        if not wanted:
            return
        spawn_supervisor(self._start, CONSOLE_ONLY)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            watch_supervisor(self._start)
            stack = state.find(self._start.data_dir)
            if stack.supervised() and stack.components and stack.healthy():
                return
            watch_components(self._start, stack)
            time.sleep(_PAUSE_SECONDS)
        raise ComponentUnhealthy("the console did not get ready", next_step="look at its log: stackctl logs console")

    @property
    def _compose_directory(self) -> Path:
        return state.compose_directory(self._start.data_dir)

    @property
    def _services(self) -> list[str]:
        return [one.name for one in COMPONENTS if one.name != GRAFANA or self._console == GRAFANA]

    def _refuse_dead(self, service: str, found: dict[str, containers.Container]) -> None:
        container = found.get(service)
        if container is None:
            raise ComponentUnhealthy(f"the container of {service} is gone", next_step="start again: stackctl up")
        if container.status in ("exited", "dead", "restarting") or (container.restarts and not container.running):
            raise self._death(container)

    def _death(self, container: containers.Container) -> StackctlError:
        """Return the error for a container that ended, after telling its last words."""
        lines = self._show_log(container)
        cause = "out of memory" if container.out_of_memory else f"exit code {container.exit_code}"
        if any("no space left on device" in line for line in lines):
            return engine.said(lines[-1])
        reason = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no word")
        return ComponentUnhealthy(
            f"{container.service} ended with {cause} instead of getting ready: {reason}",
            next_step="see the lines above, then: stackctl up",
        )

    def _show_log(self, container: containers.Container) -> list[str]:
        lines = containers.last_lines(self._client, container, _SHOWN_LINES)
        for line in lines:
            self._start.tell(f"  {container.service}: {line}")
        return lines

    def _tell_last_words(self) -> None:
        """Tell what containers wrote that ended while compose was at work."""
        with suppress(StackctlError):
            for container in containers.of_project(self._client, self._name).values():
                if container.status in ("exited", "dead", "restarting") and container.exit_code:
                    self._show_log(container)
