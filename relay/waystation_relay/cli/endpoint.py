"""``HOST:PORT`` on a command line."""

import click


class Endpoint(click.ParamType[tuple[str, int]]):
    """``HOST:PORT`` or ``[V6]:PORT``."""

    name = "host:port"

    def __init__(self, example: str) -> None:
        self._example = example

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is not HOST:PORT, such as {self._example}", param, ctx)
        return host.strip("[]"), int(port)
