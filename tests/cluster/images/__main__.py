"""``python -m tests.cluster.images``: build the images, import them into a containerd.

build [--renew] [IMAGE…]                      → one line each: reference, archive
import [--address SOCKET] [--namespace NAME]  builds first what is missing
"""

import argparse
import shutil
from pathlib import Path

from tests.cluster.images.build import TARGETS, build
from tests.cluster.images.load import NAMESPACE, load

PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build what is missing or has changed")
    building.add_argument("--renew", action="store_true", help="everything, the base image too")
    building.add_argument("images", nargs="*", help=f"of {', '.join(TARGETS)}; default: all")
    importing = commands.add_parser("import", help="give them to a containerd")
    importing.add_argument("--address", type=Path, default=Path("/run/containerd/containerd.sock"))
    importing.add_argument("--namespace", default=NAMESPACE)
    arguments = parser.parse_args()
    absent = sorted(package for name, package in PROGRAMS.items() if shutil.which(name) is None)
    if absent:
        parser.error(f"missing {', '.join(absent)}; on Debian or Ubuntu: apt-get install {' '.join(absent)}")
    if arguments.command == "import":
        for reference in load(build(), arguments.address, arguments.namespace):
            print(f"    imported {reference}")
        return
    unknown = [name for name in arguments.images if name not in TARGETS]
    if unknown:
        parser.error(f"no such image: {', '.join(unknown)}")
    for archive in build(arguments.images or TARGETS, renew=arguments.renew):
        print(f"    {archive.reference}  {archive.path}")


if __name__ == "__main__":
    main()
