"""The authority, each component's certificate, and the kubeconfig files made of them."""

import base64
import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.cluster.driver.place import API_SERVICE_IP, CONTEXT, NODE, NODE_IP, Place

_VALID = datetime.timedelta(days=365)
# File name → (user, groups, names it serves under).
_HOLDERS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "admin": ("admin", ("system:masters",), ()),
    "api": (
        "kube-apiserver",
        (),
        (
            "127.0.0.1",
            NODE_IP,
            API_SERVICE_IP,
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ),
    ),
    "controllers": ("system:kube-controller-manager", (), ()),
    "scheduler": ("system:kube-scheduler", (), ()),
    "node": (f"system:node:{NODE}", ("system:nodes",), (NODE_IP, NODE)),
    "proxy": ("system:kube-proxy", (), ()),
}


def write(place: Place) -> None:
    """Everything below ``pki/`` and the kubeconfig files, unless they are there: a cluster keeps its keys."""
    folder = place.root / "pki"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _write_key(folder / "service-accounts.key", ec.generate_private_key(ec.SECP256R1()))
        authority = ec.generate_private_key(ec.SECP256R1())
        _write_key(folder / "ca.key", authority)
        certificate = _authority_certificate(authority)
        (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        for file in _HOLDERS:
            _issue(folder, file, authority, certificate)
        (folder / "complete").touch()
    for file in _HOLDERS:
        config = place.kubeconfig if file == "admin" else folder / f"{file}.kubeconfig"
        # Those inside reach the API server itself: they work on while the gate is down.
        port = place.ports.gate if file == "admin" else place.ports.api
        config.write_text(_kubeconfig(folder, file, port), encoding="utf-8")
        config.chmod(0o600)
    inside = folder / "admin.kubeconfig"
    inside.write_text(_kubeconfig(folder, "admin", place.ports.api), encoding="utf-8")
    inside.chmod(0o600)


def _kubeconfig(folder: Path, file: str, port: int) -> str:
    def data(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {
                    "server": f"https://127.0.0.1:{port}",
                    "certificate-authority-data": data("ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": file,
                "user": {
                    "client-certificate-data": data(f"{file}.crt"),
                    "client-key-data": data(f"{file}.key"),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": file}}],
        "current-context": CONTEXT,
    }
    return json.dumps(body, indent=1) + "\n"


def _issue(folder: Path, file: str, authority: ec.EllipticCurvePrivateKey, issuer: x509.Certificate) -> None:
    user, groups, names = _HOLDERS[file]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        + [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    builder = _builder(subject, issuer.subject, key).add_extension(usage, critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_host(name) for name in names]), critical=False
        )
    certificate = builder.sign(authority, hashes.SHA256())
    (folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_key(folder / f"{file}.key", key)


def _authority_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Waystation test cluster")])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    return _builder(name, name, key).add_extension(constraints, critical=True).sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    file.write_bytes(text)
    file.chmod(0o600)


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
