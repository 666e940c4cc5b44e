"""Secrets → the files of credentials and certificates that lie beside the relay's document."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waystation_operator.api.objects import Secret
from waystation_operator.api.problem import Identity, Path, Problem
from waystation_operator.plan import certificate


@dataclass(frozen=True, slots=True)
class Use:
    """What a Secret is needed as: the keys it must have, the file suffix each becomes, and their form."""

    suffixes: Mapping[str, str]
    form: str


CERTIFICATE = Use({"tls.crt": "crt", "tls.key": "key"}, "the chain and its key in PEM")
CREDENTIAL = Use({"username": "username", "password": "password"}, "each one line")


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
        if (objection := _objection(secret.data, use)) is not None:
            remedy = f"give the Secret the keys {keys}, {use.form}"
            self.problems.append(Problem(owner, path, name, f"names Secret {key}, {objection}", remedy))
            return None
        material = f"{owner.namespace}.{name}"
        for k, suffix in use.suffixes.items():
            self.files[f"{material}.{suffix}"] = secret.data[k]
        return material


def _objection(data: Mapping[str, bytes], use: Use) -> str | None:
    if lacking := [key for key in use.suffixes if not data.get(key)]:
        return f"which has no {' and no '.join(lacking)}"
    if use is CERTIFICATE:
        return certificate.objection(*(data[key] for key in use.suffixes))
    if odd := [key for key in use.suffixes if not _is_line(data[key])]:
        return f"whose {' and '.join(odd)} cannot be sent: not one line of UTF-8 text"
    return None


def _is_line(value: bytes) -> bool:
    """As the relay will read it: without a line end behind it."""
    try:
        line = value.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return False
    return bool(line) and not any(c in line for c in "\r\n\0")
