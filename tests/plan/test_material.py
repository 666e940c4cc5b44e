"""Secrets become files beside the document, under names that say where they come from."""

import dataclasses
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from tests.plan.objects import secret

from waystation_operator.api.problem import Identity
from waystation_operator.plan.material import CERTIFICATE, CREDENTIAL, Material, Use

OWNER = Identity("MailRoute", "mail", "all")
PATH = ("spec", "x")
ODD = "cannot be sent: not one line of UTF-8 text"


def pair(name: str = "relay.example.com") -> tuple[str, str]:
    """A certificate and its key, both PEM, made for this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), private.decode()


CHAIN, KEY = pair()
OTHER_CHAIN, OTHER_KEY = pair()
LOCKED = (
    load_pem_private_key(KEY.encode(), None)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    .decode()
)


def test_credential() -> None:
    """User name and password, each a file, named after namespace and Secret."""
    material = Material(secret("up", username="shop", password="hunter2"))
    assert material.take(CREDENTIAL, OWNER, PATH, "up") == "mail.up"
    assert material.files == {"mail.up.username": b"shop", "mail.up.password": b"hunter2"}
    assert material.problems == []
    assert "hunter2" not in repr(material)


def test_certificate() -> None:
    """Chain and key, as they are."""
    material = Material(secret("tls", tls_crt=CHAIN, tls_key=KEY))
    assert material.take(CERTIFICATE, OWNER, PATH, "tls") == "mail.tls"
    assert sorted(material.files) == ["mail.tls.crt", "mail.tls.key"]


def test_one_secret_used_twice_is_written_once() -> None:
    """Two listeners with one certificate share its files."""
    material = Material(secret("tls", tls_crt=CHAIN, tls_key=KEY))
    assert material.take(CERTIFICATE, OWNER, PATH, "tls") == material.take(CERTIFICATE, OWNER, PATH, "tls")
    assert len(material.files) == 2


def test_secret_of_another_namespace_is_not_found() -> None:
    """A resource reaches the Secrets of its own namespace only: no tenant uses another's password."""
    material = Material(secret("shop/up", username="a", password="b"))
    assert material.take(CREDENTIAL, OWNER, PATH, "up") is None
    assert list(map(str, material.problems)) == [
        (
            "MailRoute mail/all: spec.x: up: is no Secret of namespace mail; create Secret mail/up with the "
            "keys username and password"
        )
    ]


@pytest.mark.parametrize(
    ("use", "data", "objection"),
    [
        pytest.param(CREDENTIAL, {}, "which has no username and no password", id="nothing in it"),
        pytest.param(CREDENTIAL, {"username": "a"}, "which has no password", id="no password"),
        pytest.param(CREDENTIAL, {"username": "", "password": "b"}, "which has no username", id="empty"),
        pytest.param(
            CREDENTIAL, {"username": "a", "password": "b\nc"}, f"whose password {ODD}", id="two lines"
        ),
        pytest.param(CREDENTIAL, {"username": "a", "password": "b\0c"}, f"whose password {ODD}", id="NUL"),
        pytest.param(CREDENTIAL, {"username": "a", "password": "\n"}, f"whose password {ODD}", id="line end"),
        pytest.param(CERTIFICATE, {"tls_crt": CHAIN}, "which has no tls.key", id="no key"),
        pytest.param(
            CERTIFICATE,
            {"tls_crt": "x", "tls_key": KEY},
            "whose tls.crt is no certificate chain in PEM",
            id="no PEM",
        ),
        pytest.param(
            CERTIFICATE,
            {"tls_crt": CHAIN, "tls_key": CHAIN},
            "whose tls.key is no private key in PEM",
            id="no key PEM",
        ),
        pytest.param(
            CERTIFICATE,
            {"tls_crt": CHAIN, "tls_key": OTHER_KEY},
            "whose tls.key does not belong to the first certificate of its tls.crt",
            id="key of another",
        ),
        pytest.param(
            CERTIFICATE,
            {"tls_crt": OTHER_CHAIN + CHAIN, "tls_key": KEY},
            "whose tls.key does not belong to the first certificate of its tls.crt",
            id="chain in the wrong order",
        ),
        pytest.param(
            CERTIFICATE,
            {"tls_crt": CHAIN, "tls_key": LOCKED},
            "whose tls.key is protected by a password, which nobody can enter here",
            id="key with a password",
        ),
    ],
)
def test_unusable_secret(use: Use, data: dict[str, str], objection: str) -> None:
    """What the relay could not use is refused before it gets it; values are not repeated."""
    material = Material(secret("up", **data))
    assert material.take(use, OWNER, PATH, "up") is None
    (problem,) = material.problems
    assert problem.problem == f"names Secret mail/up, {objection}"
    assert material.files == {}


def test_password_that_is_no_text_is_refused() -> None:
    """The relay reads UTF-8: other bytes would keep it from starting."""
    (found,) = secret("up", username="a", password="b").values()
    broken = dataclasses.replace(found, data={**found.data, "password": b"\xff"})
    material = Material({broken.identity.key: broken})
    assert material.take(CREDENTIAL, OWNER, PATH, "up") is None
    assert material.problems[0].problem == f"names Secret mail/up, whose password {ODD}"


def test_chain_with_intermediates() -> None:
    """Certificates behind the first one may be of anybody."""
    material = Material(secret("tls", tls_crt=CHAIN + OTHER_CHAIN, tls_key=KEY))
    assert material.take(CERTIFICATE, OWNER, PATH, "tls") == "mail.tls"


def test_line_end_behind_a_password_is_accepted() -> None:
    """Files made by an editor end with one; the relay leaves it out."""
    material = Material(secret("up", username="a\n", password="b\r\n"))
    assert material.take(CREDENTIAL, OWNER, PATH, "up") == "mail.up"


KEPT = {"shop.login.username": b"ann", "shop.login.password": b"old"}


@pytest.mark.parametrize(
    ("secrets", "forbidden", "kept", "reason", "password"),
    [
        pytest.param({}, (), {}, "SecretNotFound", None, id="never was"),
        pytest.param({}, (), KEPT, "SecretNotFound", b"old", id="deleted"),
        pytest.param({}, ("shop/login",), KEPT, "SecretForbidden", b"old", id="no longer allowed"),
        pytest.param({}, ("shop/login",), {}, "SecretForbidden", None, id="never allowed"),
        pytest.param({"username": "ann"}, (), KEPT, "InvalidCredential", b"old", id="broken"),
        pytest.param(
            {"username": "ann"},
            (),
            {"shop.login.username": b"ann"},
            "InvalidCredential",
            None,
            id="half of the last good one",
        ),
        pytest.param({"username": "ann", "password": "new"}, (), KEPT, "", b"new", id="good again"),
    ],
)
def test_the_last_good_version_stays_in_use(
    secrets: dict[str, str],
    forbidden: tuple[str, ...],
    kept: dict[str, bytes],
    reason: str,
    password: bytes | None,
) -> None:
    """A Secret that vanishes or breaks stops no mail that went out with it; that it did is a problem."""
    found = secret("shop/login", **secrets) if secrets else {}
    material = Material(found, forbidden, kept)
    owner = Identity("MailRoute", "shop", "orders")
    used = material.take(CREDENTIAL, owner, ("spec",), "login")
    assert [problem.reason for problem in material.problems] == ([reason] if reason else [])
    assert used == ("shop.login" if password else None)
    assert material.files.get("shop.login.password") == password
