"""A listener's certificate: there, usable, and in its time."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.plan.scenario import NOW, observed

from waystation_operator.plan.reconcile import reconcile

_DAY = 86_400
_KEY = ec.generate_private_key(ec.SECP256R1())
_KEY_PEM = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def chain(begins: float, ends: float) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.example.com")])
    builder = x509.CertificateBuilder(name, name, _KEY.public_key(), x509.random_serial_number())
    at = [datetime.datetime.fromtimestamp(x, datetime.UTC) for x in (begins, ends)]
    made = builder.not_valid_before(at[0]).not_valid_after(at[1]).sign(_KEY, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("begins", "ends", "judgement"),
    [
        pytest.param(-1, 90, ("True", "ResolvedRefs"), id="good"),
        pytest.param(-1, 21.1, ("True", "ResolvedRefs"), id="good for three weeks"),
        pytest.param(-1, 20.9, ("True", "CertificateExpiresSoon"), id="soon"),
        pytest.param(-30, -1, ("False", "CertificateExpired"), id="expired"),
        pytest.param(1, 90, ("False", "CertificateNotYetValid"), id="not yet"),
    ],
)
def test_the_time_of_a_certificate(begins: float, ends: float, judgement: tuple[str, str]) -> None:
    """Its end is said three weeks before; it is served all the same, as it is what there is."""
    listeners = [
        {"name": "plain", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}},
        {"name": "tls", "port": 465, "tls": {"mode": "Implicit", "secretName": "relay-tls"}},
    ]
    pool = {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": "RelayPool",
        "metadata": {"name": "outbound", "namespace": "mail", "generation": 1},
        "spec": {"hostname": "relay.example.com", "listeners": listeners},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "relay-tls", "namespace": "mail"},
        "stringData": {
            "tls.crt": chain(NOW + begins * _DAY, NOW + ends * _DAY).decode(),
            "tls.key": _KEY_PEM.decode(),
        },
    }
    wishes = reconcile(observed([pool, secret]))
    assert wishes.config_hash
    status = wishes.pool_status
    assert status is not None
    found = {x["name"]: x["conditions"][0] for x in status["listeners"]}
    assert (found["tls"]["status"], found["tls"]["reason"]) == judgement
    assert found["plain"]["reason"] == "ResolvedRefs"
    (whole,) = [x for x in status["conditions"] if x["type"] == "ResolvedRefs"]
    assert (whole["status"], whole["reason"]) == judgement
    told = [event.reason for event in wishes.events]
    assert told == ([] if judgement[1] == "ResolvedRefs" else [judgement[1]])
