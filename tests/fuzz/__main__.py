"""``make fuzz``: coverage-guided fuzzing with atheris, each target for some seconds.

    python -m tests.fuzz [--seconds 60] [--keep] [TARGET …]

Without a target all are run, one after another, each in a process of its own.
A crash ends its target; the input is left in ``.fuzz/<target>/crash-…`` and
belongs into the corpus, under a name that says what it is, once the fault is
mended. ``--keep`` adds to the corpus some of the inputs that reached new code.

Exit code: 0 no invariant was broken, 1 one was, 2 atheris is missing.
"""

import argparse
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.fuzz import target

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".fuzz"
PACKAGES = ["waystation_relay", "waystation_contract", "waystation_operator"]
SLOW_INPUT_S = 10
MEMORY_MIB = 2048
KEPT_FILES = 10  # of what was found, in one run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the parsers.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--keep", action="store_true", help="add to the corpus some inputs that reached new code"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(target.names()))
    chosen = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("error: atheris is missing; install it with: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    unknown = sorted(set(chosen.targets) - set(target.names()))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(target.names())}")
    if chosen.child:
        fuzz(chosen.targets[0], chosen.seconds)
    broken = [name for name in chosen.targets or target.names() if not survives(name, chosen.seconds)]
    if chosen.keep:
        for name in chosen.targets or target.names():
            keep(name)
    print(f"broken: {', '.join(broken)}" if broken else "every invariant held")
    return 1 if broken else 0


def survives(name: str, seconds: int) -> bool:
    print(f"==> {name}, {seconds} s", flush=True)
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--child", f"--seconds={seconds}", name], cwd=ROOT, check=False
    )
    return run.returncode == 0


def fuzz(name: str, seconds: int) -> None:
    """Does not return."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        found = target.load(name)
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in found.tokens if len(token) <= 64), "ascii")
    arguments = [
        f"-max_total_time={seconds}", f"-max_len={target.LONGEST_BYTES}", f"-timeout={SLOW_INPUT_S}",
        f"-rss_limit_mb={MEMORY_MIB}", f"-dict={words}", f"-artifact_prefix={folder}/", "-verbosity=0",
        "-print_final_stats=1", str(_inputs(name)), str(found.folder),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *arguments], found.run)
    atheris.Fuzz()


def keep(name: str) -> None:
    """Some of the inputs found, small ones and large ones."""
    found = target.load(name)
    known = set(found.corpus().values())
    inputs = {path.read_bytes() for path in _inputs(name).iterdir()}
    fresh = sorted(inputs - known - {b""}, key=lambda data: (len(data), data))
    chosen = fresh[:: max(1, len(fresh) // KEPT_FILES)][:KEPT_FILES]
    for data in chosen:
        (found.folder / f"found-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
    print(f"{name}: {len(chosen)} of {len(fresh)} inputs kept")


def _inputs(name: str) -> Path:
    folder = FOLDER / name / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    sys.exit(main())
