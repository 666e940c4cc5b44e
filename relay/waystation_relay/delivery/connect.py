"""From hosts to a connection that takes mail, or the reason why there is none.

Hosts and their addresses are tried in the order given, each through connect,
greeting, EHLO (LHLO; HELO where EHLO is refused), STARTTLS and AUTH. A step
that fails moves on to the next address, unless no other could do better (our
login is refused; an MX host turns out to be ourselves, and those before it had
their chance). Opportunistic TLS that fails is tried once more without, on a
new connection.

Invariants
    Every step has a deadline; at most ``MOST_ADDRESSES`` are tried.
    Before TLS is verified, REQUIRED sends nothing but EHLO, HELO, STARTTLS and QUIT, IMPLICIT nothing at all.
    Nothing a server said before the TLS handshake is believed after it.
Known limits
    A sudden refusal of all hosts (a 5yz greeting) defers, but for 521 and 556
    of MX hosts, which say that they take no mail at all (RFC 7504).
    Under OPPORTUNISTIC a password is sent over TLS to a server of unknown identity.
"""

import asyncio
import dataclasses
import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from typing import Protocol as Interface

from waystation_relay.delivery import classify, tls, verdicts
from waystation_relay.delivery.classify import At
from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.dialogue import Dialogue, OpeningError
from waystation_relay.delivery.login import log_in
from waystation_relay.delivery.target import Protocol, Security, Target
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.delivery.verdicts import Hop
from waystation_relay.mail.outcome import Deferred, Failed, Reason, Remote
from waystation_relay.mail.reply import Reply, reply
from waystation_relay.wire import capabilities
from waystation_relay.wire.capabilities import HELO_ONLY, Capabilities

MOST_ADDRESSES = 10
TAKES_NO_MAIL = frozenset({521, 556})


class Host(Interface):
    """A name and its addresses, as the resolver found them."""

    @property
    def name(self) -> str: ...

    @property
    def addresses(self) -> Sequence[str]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """``ehlo_name`` is also how an MX host that is ourselves is recognized. ``bind_address`` (empty: any) is
    used as source; addresses of the other family are then passed over. ``ca_file``: see ``tls.verified``."""

    ehlo_name: str
    bind_address: str = ""
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    ca_file: str = ""
    timeouts: Timeouts = dataclasses.field(default_factory=Timeouts)


@dataclasses.dataclass(frozen=True, slots=True)
class ConnectFailure:
    """``outcome`` is that of every message that waited for the connection; ``remote`` who was asked last."""

    outcome: Deferred | Failed
    remote: Remote | None = None


async def connect(target: Target, hosts: Sequence[Host], settings: Settings) -> Connection | ConnectFailure:
    """The first host that takes mail."""
    troubles: list[Deferred | Failed] = []
    for remote in _remotes(target, hosts, settings.bind_address):
        try:
            return await _Opening(target, remote, settings).run()
        except OpeningError as trouble:
            outcome = _placed(trouble.outcome, remote)
            if trouble.decisive and not (isinstance(outcome, Failed) and troubles):
                return ConnectFailure(outcome, remote)
            if trouble.decisive:  # we ourselves are next in line: it is for the better hosts to come back
                break
            troubles.append(outcome)
    if not troubles:
        text = f"{target.host} has no address that can be connected to"
        if settings.bind_address:
            text += f" from {settings.bind_address}"
        return ConnectFailure(Deferred(reply(451, "4.4.1", text), Reason.CONNECT))
    telling = min(troubles, key=_dullness)
    return ConnectFailure(telling, telling.remote)


def _remotes(target: Target, hosts: Sequence[Host], bind_address: str) -> Iterator[Remote]:
    family = ipaddress.ip_address(bind_address).version if bind_address else 0
    count = 0
    for host in hosts:
        for address in host.addresses:
            if family and ipaddress.ip_address(address).version != family:
                continue
            count += 1
            if count > MOST_ADDRESSES:
                return
            yield Remote(host.name, address, target.port)


def _dullness(outcome: Deferred | Failed) -> int:
    """Which trouble to tell: what may pass before what is final, answers before silence."""
    if isinstance(outcome, Failed):
        return 2
    return 1 if outcome.reason is Reason.CONNECT else 0


def _placed(outcome: Deferred | Failed, remote: Remote) -> Deferred | Failed:
    if outcome.remote is not None:
        return outcome
    return type(outcome)(outcome.reply, outcome.reason, remote)


class _Opening:
    """One address, from connect to ready."""

    def __init__(self, target: Target, remote: Remote, settings: Settings) -> None:
        self._target, self._remote, self._settings = target, remote, settings
        self._timeouts = settings.timeouts
        self._without_tls = False  # though it was tried
        self._name = verdicts.named(remote)
        self._tls_name = remote.address if remote.host.startswith("[") else remote.host

    async def run(self) -> Connection:
        try:
            return await self._attempt(self._target.security)
        except _HandshakeError:
            if self._target.security is not Security.OPPORTUNISTIC:
                raise
        self._without_tls = True
        return await self._attempt(Security.NONE)

    async def _attempt(self, security: Security) -> Connection:
        dialogue = await self._dial(security)
        try:
            return await self._introduce(dialogue, security)
        except OpeningError:
            dialogue.leave(self._timeouts.quit_s)
            raise
        except BaseException:  # whatever it was, cancellation too: nobody else would close it
            dialogue.abort()
            raise

    async def _dial(self, security: Security) -> Dialogue:
        loop = asyncio.get_running_loop()
        implicit = security is Security.IMPLICIT
        bind = self._settings.bind_address
        within_s = self._timeouts.connect_s + (self._timeouts.handshake_s if implicit else 0)
        try:
            async with asyncio.timeout(within_s):
                _, dialogue = await loop.create_connection(
                    lambda: Dialogue(self._name),
                    self._remote.address,
                    self._remote.port,
                    local_addr=(bind, 0) if bind else None,
                    ssl=tls.context_for(security, self._settings.ca_file) if implicit else None,
                    server_hostname=self._tls_name if implicit else None,
                )
        except ssl.SSLError as error:
            raise _HandshakeError(self._tls_trouble(tls.why(error))) from error
        except TimeoutError:
            raise OpeningError(self._unreached(f"no answer within {within_s:g} s")) from None
        except OSError as error:
            raise OpeningError(self._unreached(error.strerror or str(error))) from error
        return dialogue

    async def _introduce(self, dialogue: Dialogue, security: Security) -> Connection:
        """Greeting, EHLO, TLS, login; the transport changes hands at the end."""
        greeting = await dialogue.reply("the connection", self._timeouts.greeting_s)
        self._demand_positive(greeting, "greeted us with")
        offered = await self._hello(dialogue)
        self._beware_of_ourselves(greeting, offered)
        version = ""
        if security in {Security.OPPORTUNISTIC, Security.REQUIRED}:
            if offered.starttls:
                await self._start_tls(dialogue, security)
                offered = await self._hello(dialogue)
            elif security is Security.REQUIRED:
                raise OpeningError(self._tls_trouble("it does not offer STARTTLS, which the route requires"))
        assert dialogue.transport is not None
        session = dialogue.transport.get_extra_info("ssl_object")
        if session is not None:
            version = str(session.version())
        if self._settings.username is not None:
            await log_in(
                dialogue,
                self._settings.username,
                self._settings.password or "",
                offered,
                secure=bool(version),
                within_s=self._timeouts.greeting_s,
            )
        if dialogue.has_more:
            raise OpeningError(verdicts.nonsense("more replies than commands"))
        if dialogue.is_over:  # a loss that the dialogue has heard of, nobody will tell the connection
            raise OpeningError(verdicts.lost(f"{self._name} closed the connection before any mail"))
        return self._hand_over(dialogue.transport, offered, version)

    def _hand_over(self, transport: asyncio.Transport, offered: Capabilities, version: str) -> Connection:
        hop = Hop(
            self._remote,
            lmtp=self._target.protocol is Protocol.LMTP,
            dsn=offered.dsn,
            excused=not self._target.mx or self._without_tls,
        )
        connection = Connection(transport, hop, offered, self._timeouts, version)
        transport.set_protocol(connection)
        return connection

    async def _hello(self, dialogue: Dialogue) -> Capabilities:
        lmtp = self._target.protocol is Protocol.LMTP
        verb = "LHLO" if lmtp else "EHLO"
        name = self._settings.ehlo_name
        answer = await dialogue.command(f"{verb} {name}\r\n".encode(), verb, self._timeouts.greeting_s)
        if answer.is_permanent and not lmtp:
            answer = await dialogue.command(f"HELO {name}\r\n".encode(), "HELO", self._timeouts.greeting_s)
            self._demand_positive(answer, "answered HELO with")
            return HELO_ONLY
        self._demand_positive(answer, f"answered {verb} with")
        return capabilities.parse(answer)

    async def _start_tls(self, dialogue: Dialogue, security: Security) -> None:
        answer = await dialogue.command(b"STARTTLS\r\n", "STARTTLS", self._timeouts.greeting_s)
        if answer.code != 220:
            raise _HandshakeError(self._tls_trouble(f"it answered STARTTLS with {answer}"))
        if dialogue.has_more:
            raise OpeningError(self._tls_trouble("it sent more in plain text after its reply to STARTTLS"))
        plain = dialogue.transport
        assert plain is not None
        try:
            upgraded = await asyncio.get_running_loop().start_tls(
                plain,
                dialogue,
                tls.context_for(security, self._settings.ca_file),
                server_hostname=self._tls_name,
                ssl_handshake_timeout=self._timeouts.handshake_s,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError and lost connections are OSErrors
            raise _HandshakeError(self._tls_trouble(tls.why(error))) from error
        if upgraded is None:  # asyncio's way to say that the connection went away meanwhile
            raise _HandshakeError(self._tls_trouble("the connection was lost during the TLS handshake"))
        dialogue.transport = upgraded

    def _demand_positive(self, answer: Reply, how: str) -> None:
        if answer.code // 100 == 2:
            return
        if not (answer.is_temporary or answer.is_permanent):
            raise OpeningError(verdicts.nonsense(str(answer)))
        explained, why = classify.explained(answer, At.CONNECT)
        if self._target.mx and answer.code in TAKES_NO_MAIL:
            raise OpeningError(Failed(explained, why))
        told = Reply(
            explained.code if explained.is_temporary else 451,
            f"4{explained.enhanced[1:]}",
            (f"{self._name} {how}: {answer}",),
        )
        raise OpeningError(Deferred(told, why))

    def _beware_of_ourselves(self, greeting: Reply, offered: Capabilities) -> None:
        own = self._settings.ehlo_name.lower().rstrip(".")
        if self._target.mx and own in {capabilities.server_name(greeting), offered.name}:
            domain, host = self._target.host, self._remote.host
            text = f"mail for {domain} loops back: its mail host {host} is {own}, this relay"
            raise OpeningError(Failed(reply(554, "5.4.6", text), Reason.LOOP), decisive=True)

    def _unreached(self, why: str) -> Deferred:
        return Deferred(reply(451, "4.4.1", f"cannot connect to {self._name}: {why}"), Reason.CONNECT)

    def _tls_trouble(self, why: str) -> Deferred:
        return Deferred(reply(454, "4.7.5", f"no TLS with {self._name}: {why}"), Reason.TLS)


class _HandshakeError(OpeningError):
    """TLS was offered and did not come about."""

    def __init__(self, outcome: Deferred) -> None:
        super().__init__(outcome)
