"""MAIL and RCPT, argument by argument."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.effort import examples

from waystation_relay.mail.envelope import BodyType, Notify, Recipient, Ret
from waystation_relay.wire import envelope_commands, replies
from waystation_relay.wire.envelope import Mail, mail, rcpt

GOOD = {
    "plain": "a@shop.test",
    "one label": "a@localhost",
    "every atom character": "!#$%&'*+-/=?^_`{|}~@shop.test",
    "dots within": "a.b.c@shop.test",
    "upper case": "A@SHOP.TEST",
    "digits": "1@2.test",
    "underscore in the domain": "a@my_host.test",
    "quoted": '"a b"@shop.test',
    "quoted and empty": '""@shop.test',
    "quoted quote": r'"a\"b"@shop.test',
    "quoted backslash": r'"a\\b"@shop.test',
    "quoted brackets": '"<a>"@shop.test',
    "quoted at": '"a@b"@shop.test',
    "IPv4 literal": "a@[192.0.2.1]",
    "IPv6 literal": "a@[IPv6:2001:db8::1]",
    "A-label": "a@xn--bcher-kva.test",
    "200 bytes of local part, as VERP makes them": f"{'x' * 200}@shop.test",
    "label of 63": f"a@{'x' * 63}.test",
    "254 bytes": f"{'x' * 62}@{'y' * 63}.{'y' * 63}.{'y' * 61}.t",
}
BAD = {
    "no at": "shop.test",
    "no local part": "@shop.test",
    "no domain": "a@",
    "two ats": "a@b@shop.test",
    "dot first": ".a@shop.test",
    "dot last": "a.@shop.test",
    "two dots": "a..b@shop.test",
    "comma": "a,b@shop.test",
    "colon": "a:b@shop.test",
    "parentheses": "a(b)@shop.test",
    "backslash": "a\\b@shop.test",
    "square bracket": "a[b@shop.test",
    "quoted half": '"a"b@shop.test',
    "domain with a dot first": "a@.shop.test",
    "domain with a dot last": "a@shop.test.",
    "domain with two dots": "a@shop..test",
    "label with a hyphen first": "a@-shop.test",
    "label with a hyphen last": "a@shop-.test",
    "label of 64": f"a@{'x' * 64}.test",
    "a number for a domain": "a@192.0.2.1",
    "literal out of range": "a@[192.0.2.256]",
    "literal without its end": "a@[192.0.2.1",
    "IPv6 literal without its tag's colon": "a@[IPv62001:db8::1]",
    "255 bytes": f"{'x' * 63}@{'y' * 63}.{'y' * 63}.{'y' * 61}.t",
    "source route without an address": "@hosta.test:",
    "source route without its colon": "@hosta.test,a@shop.test",
    "percent in the domain": "a@shop%.test",
    "delete": "a\x7f@shop.test",
    "control in quotes": '"a\x01b"@shop.test',
}


@pytest.mark.parametrize("address", GOOD.values(), ids=GOOD)
def test_an_address_is_taken_as_it_is(address: str) -> None:
    """What mail servers deliver to is taken, unchanged, as sender and as recipient."""
    assert mail(f"FROM:<{address}>") == Mail(address)
    assert rcpt(f"TO:<{address}>", smtputf8=False) == Recipient(address)


@pytest.mark.parametrize("address", BAD.values(), ids=BAD)
def test_no_address_is_refused(address: str) -> None:
    """What no mail server can deliver to is refused with 553, as sender and as recipient."""
    assert mail(f"FROM:<{address}>") == replies.BAD_SENDER
    assert rcpt(f"TO:<{address}>", smtputf8=False) == replies.BAD_RECIPIENT


@pytest.mark.parametrize(
    "path",
    ["", "<", "<a@shop.test", "a@shop.test>", "<a@shop.test>x", "<<a@shop.test>>", "<a @shop.test>",
     "<a@shop.test >", "< a@shop.test>", '<"a@shop.test>', '<"a\\"@shop.test>', "<a\t@shop.test>",
     "<a\u2028b@shop.test>", "  <a@shop.test>", "<a@shop.test>\tSIZE=1"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_path_is_a_syntax_error(path: str) -> None:
    """The address stands in angle brackets, parameters behind a blank."""
    assert mail(f"FROM:{path}") == replies.MAIL_SYNTAX
    assert rcpt(f"TO:{path}", smtputf8=True) == replies.RCPT_SYNTAX


def test_null_and_postmaster() -> None:
    """The null path is a sender, bare postmaster a recipient, and neither the other."""
    assert mail("FROM:<>") == Mail("")
    assert rcpt("TO:<>", smtputf8=False) == replies.BAD_RECIPIENT
    assert rcpt("TO:<POSTmaster>", smtputf8=False) == Recipient("POSTmaster")
    assert mail("FROM:<postmaster>") == replies.BAD_SENDER


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("@hosta.test:a@shop.test", "a@shop.test"),
        ("@hosta.test,@hostb.test:a@shop.test", "a@shop.test"),
        ('@hosta.test:"a:b"@shop.test', '"a:b"@shop.test'),
    ],
)
def test_a_source_route_is_dropped(path: str, address: str) -> None:
    """RFC 5321 appendix C: what stands before the colon was the way there, once."""
    assert mail(f"FROM:<{path}>") == Mail(address)
    assert rcpt(f"TO:<{path}>", smtputf8=False) == Recipient(address)


def test_other_scripts_need_smtputf8() -> None:
    """RFC 6531 §3.5: 550 for the sender, 553 for a recipient, both 5.6.7."""
    assert mail("FROM:<ü@shop.test>") == replies.SENDER_NEEDS_SMTPUTF8
    assert mail("FROM:<a@bücher.test> SMTPUTF8") == Mail("a@bücher.test", smtputf8=True)
    assert rcpt("TO:<ü@shop.test>", smtputf8=False) == replies.RECIPIENT_NEEDS_SMTPUTF8
    assert rcpt("TO:<ü@shop.test>", smtputf8=True) == Recipient("ü@shop.test")
    assert rcpt("TO:<a@shop.test> ORCPT=utf-8;ü@x.test", smtputf8=False) == replies.RECIPIENT_NEEDS_SMTPUTF8


def test_mail_parameters_are_understood() -> None:
    """Each parameter of MAIL reaches the host with its meaning; what is passed on stays as it came."""
    said = "FROM:<a@shop.test> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q+2B1"
    assert mail(said) == Mail("a@shop.test", 1000, BodyType.EIGHT_BIT, True, Ret.HEADERS, "Q+2B1")
    assert mail(said.upper().replace("A@SHOP.TEST", "a@shop.test").replace("Q+2B1", "q+2B1")) == Mail(
        "a@shop.test", 1000, BodyType.EIGHT_BIT, True, Ret.HEADERS, "q+2B1"
    )


@pytest.mark.parametrize(
    ("value", "notify"),
    [
        ("NEVER", Notify.NEVER),
        ("SUCCESS", Notify.SUCCESS),
        ("failure,delay", Notify.FAILURE | Notify.DELAY),
        ("SUCCESS,FAILURE,DELAY", Notify.SUCCESS | Notify.FAILURE | Notify.DELAY),
        ("SUCCESS,SUCCESS", Notify.SUCCESS),
    ],
)
def test_notify_is_understood(value: str, notify: Notify) -> None:
    """RFC 3461 §4.1."""
    assert rcpt(f"TO:<b@next.test> NOTIFY={value}", smtputf8=False) == Recipient("b@next.test", notify)


@pytest.mark.parametrize(
    ("orcpt", "good"),
    [
        ("rfc822;b@next.test", True),
        ("RFC822;b+2Bc+3D@next.test", True),
        ("x400;/C=DE/", False),  # "=" is +3D in xtext
        ("x400;/C+3DDE/", True),
        ("utf-8;\\x{FC}@next.test", True),
        ("utf-8;\\x{1F600}@next.test", True),
        ("utf-8;a+2Bb@next.test", True),
        ("utf-8;\\x{}@next.test", False),
        ("utf-8;\\x{fc}@next.test", False),
        ("utf-8;\\@next.test", False),
        ("rfc822;\\x{FC}@next.test", True),  # in xtext a backslash is a character like any other
        ("rfc822;a+2b", False),
        ("rfc822;a+", False),
        ("rfc822", False),
        ("rfc 822;b", False),
        ("rfc_822;b", False),
        (";b", False),
        ("rfc822;", False),
    ],
)
def test_orcpt_is_type_and_xtext(orcpt: str, good: bool) -> None:
    """RFC 3461 §4.2, RFC 6533 §3: kept as it came, when it is well formed."""
    found = rcpt(f"TO:<b@next.test> ORCPT={orcpt}", smtputf8=False)
    if good:
        assert found == Recipient("b@next.test", Notify.DEFAULT, orcpt)
    else:
        assert isinstance(found, bytes)
        assert found[:3] in (b"501", b"555")


def test_a_parameter_is_known_by_one_verb_only() -> None:
    """RFC 5321 §4.1.1.11: 555 names the parameter that is not known here."""
    assert mail("FROM:<> ORCPT=rfc822;x") == replies.unknown_parameter("ORCPT")
    assert rcpt("TO:<b@next.test> RET=FULL", smtputf8=False) == replies.unknown_parameter("RET")


def test_an_unknown_parameter_is_shown_short_and_plain() -> None:
    """What is said back is printable ASCII of a bounded length."""
    assert mail(f"FROM:<> {'x' * 500}=1") == replies.unknown_parameter("X" * 32)
    assert mail("FROM:<> \x1b[31m=1") == replies.unknown_parameter("given")


LOCAL = st.from_regex(r"\A[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z]{1,5})?\Z") | st.from_regex(
    r'\A"([ -!#-\[\]-~]|\\[ -~]){0,20}"\Z'
)
DOMAIN = st.from_regex(r"\A[a-z][a-z0-9-]{0,10}[a-z0-9](\.[a-z]{1,10}){1,3}\Z")


NOTIFY = st.sampled_from([Notify.NEVER, *map(Notify, range(0, 16, 2))])
XTEXT = st.from_regex(r"\A([!-*,-<>-~]|\+[0-9A-F]{2}){1,20}\Z")


@given(LOCAL, DOMAIN, NOTIFY, XTEXT, st.sampled_from([None, *Ret]), st.booleans())
@settings(deadline=None)
def test_what_our_client_says_our_server_understands(
    local: str, domain: str, notify: Notify, xtext: str, ret: Ret | None, eight_bit: bool
) -> None:
    """MAIL and RCPT as we write them mean the same when we read them."""
    address = f"{local}@{domain}"
    body = BodyType.EIGHT_BIT if eight_bit else BodyType.SEVEN_BIT
    said = envelope_commands.mail(address, size_bytes=7, eight_bit=eight_bit, ret=ret, envid=xtext)
    assert mail(said.decode()[5:-2]) == Mail(address, 7, body, False, ret, xtext)
    recipient = Recipient(address, notify, f"rfc822;{xtext}")
    said = envelope_commands.rcpt(recipient, dsn=True)
    assert rcpt(said.decode()[5:-2], smtputf8=False) == recipient


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=examples(500))
def test_any_text_gets_a_command_or_a_reply(text: str) -> None:
    """No argument, however strange, is more than refused."""
    for said in (mail(text), mail(f"FROM:<{text}>"), mail(f"FROM:<> {text}")):
        assert isinstance(said, Mail) or (said.startswith(b"5") and said.endswith(b"\r\n"))
    for answer in (rcpt(text, smtputf8=True), rcpt(f"TO:<b@x.test> {text}", smtputf8=True)):
        assert isinstance(answer, Recipient) or (answer.startswith(b"5") and answer.endswith(b"\r\n"))
