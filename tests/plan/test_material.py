"""Secrets become files beside the document, under names that say where they come from."""

import pytest
from tests.plan.objects import secret

from waystation_operator.api.problem import Identity
from waystation_operator.plan.material import CERTIFICATE, CREDENTIAL, Material, Use

OWNER = Identity("MailRoute", "mail", "all")
PATH = ("spec", "x")
PEM = "-----BEGIN CERTIFICATE-----\n"


def test_credential() -> None:
    """User name and password, each a file, named after namespace and Secret."""
    material = Material(secret("up", username="shop", password="hunter2"))
    assert material.take(CREDENTIAL, OWNER, PATH, "up") == "mail.up"
    assert material.files == {"mail.up.username": b"shop", "mail.up.password": b"hunter2"}
    assert material.problems == []
    assert "hunter2" not in repr(material)


def test_certificate() -> None:
    """Chain and key, as they are."""
    material = Material(secret("tls", tls_crt=PEM, tls_key=PEM))
    assert material.take(CERTIFICATE, OWNER, PATH, "tls") == "mail.tls"
    assert sorted(material.files) == ["mail.tls.crt", "mail.tls.key"]


def test_one_secret_used_twice_is_written_once() -> None:
    """Two listeners with one certificate share its files."""
    material = Material(secret("tls", tls_crt=PEM, tls_key=PEM))
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
    ("use", "data", "lacking"),
    [
        pytest.param(CREDENTIAL, {}, "username and password", id="nothing in it"),
        pytest.param(CREDENTIAL, {"username": "a"}, "password", id="no password"),
        pytest.param(CREDENTIAL, {"username": "", "password": "b"}, "username", id="empty user name"),
        pytest.param(CREDENTIAL, {"username": "a", "password": "b\nc"}, "password", id="two lines"),
        pytest.param(CREDENTIAL, {"username": "a", "password": "b\0c"}, "password", id="NUL"),
        pytest.param(CREDENTIAL, {"username": "a", "password": "\n"}, "password", id="only a line end"),
        pytest.param(CERTIFICATE, {"tls_crt": PEM}, "tls.key", id="no key"),
        pytest.param(CERTIFICATE, {"tls_crt": "x", "tls_key": PEM}, "tls.crt", id="no PEM"),
    ],
)
def test_unusable_secret(use: Use, data: dict[str, str], lacking: str) -> None:
    """What the relay could not use is refused before it gets it; values are not repeated."""
    material = Material(secret("up", **data))
    assert material.take(use, OWNER, PATH, "up") is None
    (problem,) = material.problems
    assert problem.problem == f"names Secret mail/up, which has no usable {lacking}"
    assert material.files == {}


def test_line_end_behind_a_password_is_accepted() -> None:
    """Files made by an editor end with one; the relay leaves it out."""
    material = Material(secret("up", username="a\n", password="b\r\n"))
    assert material.take(CREDENTIAL, OWNER, PATH, "up") == "mail.up"
