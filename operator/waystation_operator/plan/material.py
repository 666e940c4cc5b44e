"""Secrets → the files of credentials and certificates that lie beside the relay's document."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from waystation_operator.api.objects import Secret
from waystation_operator.api.problem import Identity, Path, Problem
from waystation_operator.plan import certificate


@dataclass(frozen=True, slots=True)
class Use:
    """What a Secret is needed as: the keys it must have, the file suffix each becomes, and their form.

    ``reason`` is of the condition when a Secret has another form.
    """

    suffixes: Mapping[str, str]
    form: str
    reason: str


CERTIFICATE = Use({"tls.crt": "crt", "tls.key": "key"}, "the chain and its key in PEM", "InvalidCertificate")
CREDENTIAL = Use({"username": "username", "password": "password"}, "each one line", "InvalidCredential")


@dataclass(slots=True)
class Material:
    """Collects the files of one plan.

    ``secrets`` are all there are, by ``namespace/name``; ``forbidden`` those that may not be read;
    ``kept`` the files of the plan in force. What is there is used in place of what has become unusable: it
    is a problem all the same, but mail goes on as it did.
    """

    secrets: Mapping[str, Secret]
    forbidden: Collection[str] = ()
    kept: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)

    def take(self, use: Use, owner: Identity, path: Path, name: str) -> str | None:
        """The name under which the document refers to the Secret; ``None`` when there is nothing to use."""
        key = f"{owner.namespace}/{name}"
        secret = self.secrets.get(key)
        keys = " and ".join(use.suffixes)
        if key in self.forbidden:
            problem, reason = f"names Secret {key}, which the operator may not read", "SecretForbidden"
            remedy = f"let it by a RoleBinding in namespace {owner.namespace}, as docs/conditions.md shows"
        elif secret is None:
            problem, reason = f"is no Secret of namespace {owner.namespace}", "SecretNotFound"
            remedy = f"create Secret {key} with the keys {keys}"
        elif (objection := _objection(secret.data, use)) is not None:
            problem, reason = f"names Secret {key}, {objection}", use.reason
            remedy = f"give the Secret the keys {keys}, {use.form}"
        else:
            return self._use(use, owner, name, secret.data)
        self.problems.append(Problem(owner, path, name, problem, remedy, reason))
        return self._use(use, owner, name, self._kept(use, owner, name))

    def _use(self, use: Use, owner: Identity, name: str, data: Mapping[str, bytes]) -> str | None:
        material = f"{owner.namespace}.{name}"
        for key, suffix in use.suffixes.items() if data else ():
            self.files[f"{material}.{suffix}"] = data[key]
        return material if data else None

    def _kept(self, use: Use, owner: Identity, name: str) -> Mapping[str, bytes]:
        """As the Secret had it when it could last be used; nothing if it never could."""
        names = {key: f"{owner.namespace}.{name}.{suffix}" for key, suffix in use.suffixes.items()}
        data = {key: self.kept[file] for key, file in names.items() if file in self.kept}
        return data if data and _objection(data, use) is None else {}


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
