"""Compiled modules of the standard library, for base images that come without.

    python bytecode.py IMAGE LAYER    python:*-slim has no bytecode at all: a third of a relay's start-up
                                      time would go into compiling what every start imports

Imports every module of Waystation that belongs to the image, and lays the
bytecode of whatever that loaded from the standard library below LAYER, under
the names the interpreter looks for. Where the base has bytecode nothing is
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
    """Files of the standard library that are loaded now and have no bytecode."""
    library = Path(sysconfig.get_path("stdlib"))
    files = {Path(file) for module in sys.modules.values() if (file := getattr(module, "__file__", None))}
    return sorted(
        file
        for file in files
        if file.suffix == ".py"
        and file.is_relative_to(library)
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
