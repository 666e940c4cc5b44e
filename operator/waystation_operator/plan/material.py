"""Secrets → the files of credentials and certificates that lie beside the relay's document."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waystation_operator.api.objects import Secret
from waystation_operator.api.problem import Identity, Path, Problem


@dataclass(frozen=True, slots=True)
class Use:
    """What a Secret is needed as: the keys it must have, and the file suffix each becomes."""

    type: str
    suffixes: Mapping[str, str]


CERTIFICATE = Use("kubernetes.io/tls", {"tls.crt": "crt", "tls.key": "key"})
CREDENTIAL = Use("kubernetes.io/basic-auth", {"username": "username", "password": "password"})

_PEM = b"-----BEGIN "


@dataclass(slots=True)
class Material:
    """Collects the files of one plan; ``secrets`` are all there are, by ``namespace/name``."""

    secrets: Mapping[str, Secret]
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)

    def take(self, use: Use, owner: Identity, path: Path, name: str) -> str | None:
        """The name under which the document refers to the Secret, or ``None`` and a problem."""
        key = f"{owner.namespace}/{name}"
        secret = self.secrets.get(key)
        keys = " and ".join(use.suffixes)
        if secret is None:
            problem = f"is no Secret of namespace {owner.namespace}"
            self.problems.append(
                Problem(owner, path, name, problem, f"create Secret {key} with the keys {keys}")
            )
            return None
        lacking = [k for k in use.suffixes if not _usable(secret.data.get(k), use)]
        if lacking:
            problem = f"names Secret {key}, which has no usable {' and '.join(lacking)}"
            remedy = f"give the Secret the keys {keys}" + (
                ", both PEM" if use is CERTIFICATE else ", each one line"
            )
            self.problems.append(Problem(owner, path, name, problem, remedy))
            return None
        material = f"{owner.namespace}.{name}"
        for k, suffix in use.suffixes.items():
            self.files[f"{material}.{suffix}"] = secret.data[k]
        return material


def _usable(value: bytes | None, use: Use) -> bool:
    if not value:
        return False
    if use is CERTIFICATE:
        return _PEM in value
    line = value.rstrip(b"\r\n")
    return bool(line) and not any(c in line for c in b"\r\n\0")
