"""Recipients grouped into transactions by route and domain."""

from tests.support.mail import message, route

from waystation_contract.model import LMTP, MX, Discard, MXPolicy, Quarantine, Reject, SmartHost, UpstreamTLS
from waystation_relay.delivery.target import Protocol, Security
from waystation_relay.dispatch.assign import RECIPIENTS_PER_TRANSACTION, assign, target_of
from waystation_relay.routing.table import Table


def groups(mail, *routes):
    found, homeless = assign(mail, range(len(mail.envelope.recipients)), Table(routes), lambda: 0.0)
    return [(a.route.name, a.domain, a.numbers) for a in found], homeless


def test_recipients_of_a_domain_share_a_transaction():
    """Mail to two domains by MX is two transactions, whatever the order of the recipients."""
    mail = message("a@x.test", "b@Y.test", "c@x.test")
    assert groups(mail, route()) == ([("shop/all", "x.test", (0, 2)), ("shop/all", "y.test", (1,))], ())


def test_a_smart_host_takes_all_domains_in_one_transaction():
    """Where the domain decides nothing it splits nothing."""
    mail = message("a@x.test", "b@y.test")
    assert groups(mail, route(backends=(SmartHost(host="up.test"),))) == ([("shop/all", "", (0, 1))], ())


def test_recipients_are_split_by_route():
    """One message, two routes: each takes its own recipients."""
    mail = message("a@in.test", "b@out.test")
    inside = route("shop/in", recipients=("*@in.test",), backends=(LMTP(host="box.test"),))
    assert groups(mail, route(), inside)[0] == [("shop/in", "", (0,)), ("shop/all", "out.test", (1,))]


def test_a_recipient_without_a_route_is_named():
    """Nobody is forgotten: who has no route is reported as such."""
    mail = message("a@in.test", "b@out.test")
    inside = route(recipients=("*@in.test",))
    assert groups(mail, inside)[1] == (1,)


def test_many_recipients_are_split_at_what_every_server_takes():
    """RFC 5321 §4.5.3.1.8: a hundred recipients a transaction are always taken."""
    mail = message(*(f"u{n}@x.test" for n in range(250)))
    sizes = [len(numbers) for _, _, numbers in groups(mail, route())[0]]
    assert sizes == [RECIPIENTS_PER_TRANSACTION, RECIPIENTS_PER_TRANSACTION, 50]


def test_each_backend_has_its_target():
    """The lane key says where, by which protocol, how secured and as whom."""
    mx = target_of(MX(tls=MXPolicy.REQUIRED), "x.test")
    assert (mx.protocol, mx.host, mx.port, mx.security, mx.mx) == (
        Protocol.SMTP, "x.test", 25, Security.REQUIRED, True,
    )  # fmt: skip
    smart = target_of(SmartHost(host="up.test", port=587, tls=UpstreamTLS.REQUIRED, credential="mail.up"), "")
    assert (smart.host, smart.port, smart.credential, smart.mx) == ("up.test", 587, "mail.up", False)
    assert target_of(LMTP(host="box.test"), "").protocol is Protocol.LMTP
    assert [target_of(backend, "") for backend in (Reject(), Discard(), Quarantine())] == [None] * 3
