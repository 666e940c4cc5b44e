"""Bytecode of what every start loads and nobody has compiled yet.

    python bytecode.py IMAGE LAYER

Imports each module of Waystation that belongs to the image, and lays the
bytecode of whatever that loaded below LAYER, where the interpreter looks for
it. That is the standard library, as python:*-slim comes without bytecode, which
would cost half of a relay's time to start, and the few modules of the
Kubernetes client that are used. Where there is bytecode already, nothing is
written.
"""

import importlib
import pkgutil
import py_compile
import sys
import sysconfig
from importlib.util import cache_from_source
from pathlib import Path

PACKAGES = {
    "relay": ("waystation", "waystation_contract", "waystation_relay"),
    "operator": ("waystation", "waystation_contract", "waystation_operator"),
}


def load(packages: tuple[str, ...]) -> None:
    for name in packages:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)


def uncompiled() -> list[Path]:
    roots = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    files = {Path(file) for module in sys.modules.values() if (file := getattr(module, "__file__", None))}
    return sorted(
        file
        for file in files
        if file.suffix == ".py"
        and any(file.is_relative_to(root) for root in roots)
        and not Path(cache_from_source(file)).exists()
    )


def main(image: str, layer: Path) -> int:
    load(PACKAGES[image])
    for file in uncompiled():
        compiled = layer / cache_from_source(file)[1:]
        py_compile.compile(
            str(file),
            cfile=str(compiled),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
