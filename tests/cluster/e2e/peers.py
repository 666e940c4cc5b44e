"""The mail servers and the client around the relays, as pods of the image ``waystation-peers``.

``smarthost`` is a Postfix: port 25 takes anything, port 587 wants STARTTLS and
AUTH: ``USER`` with ``PASSWORD``, or a user whom a test gave a password itself.
``dovecot`` takes anything by LMTP. Both are one pod and keep all mail in its
volume, so a killed container loses none. ``client`` has swaks, openssl and
Python. Names: ``smarthost.NAMESPACE.svc`` and so on, from any pod.

A login that a test changes needs a user name of its own: the operator tries the
same password of a user at most once in five minutes.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.client import Body, Cluster
from tests.cluster.e2e.resources import tls_secret
from tests.cluster.e2e.session import Session
from tests.support.certificates import Authority

FILES = Path(__file__).parent / "peerfiles"
USER, PASSWORD = "relay@example.com", "correct horse"
SERVERS, CLIENT = "servers", "client"
_SUBJECTS = "grep -rhsi -m1 ^Subject: /mail/{} || true"


@dataclass(frozen=True, slots=True)
class Peers:
    cluster: Cluster = field(repr=False)
    namespace: str

    def host(self, service: str) -> str:
        """``smarthost`` or ``dovecot`` as a backend names it."""
        return f"{service}.{self.namespace}.svc"

    # Sending

    def send(self, server: str, subject: str, *options: str, to: str = "ann@example.net") -> str:
        """What swaks saw while it handed in a mail at ``server``, a Service; fails if it was refused."""
        return self.cluster.exec(
            CLIENT, self.namespace,
            "swaks", "--server", server, "--from", "app@shop.example", "--to", to, "--timeout", "20",
            "--header", f"Subject: {subject}", *options,
        )  # fmt: skip

    @contextmanager
    def session(self, server: str, port: int = 25) -> Iterator[Session]:
        """An open conversation with a server, a line at a time."""
        argv = ("exec", "-i", CLIENT, f"--namespace={self.namespace}", "--", "python3", "-u")
        with Session.open(self.cluster, *argv, "/peers/wire.py", server, str(port)) as session:
            yield session

    def certificate(self, server: str, port: int = 25) -> str:
        """Subject and serial number of the certificate that a server shows after STARTTLS."""
        script = (
            f"openssl s_client -connect {server}:{port} -starttls smtp </dev/null 2>/dev/null"
            " | openssl x509 -noout -subject -serial -ext subjectAltName"
        )
        return self.cluster.exec(CLIENT, self.namespace, "sh", "-c", script)

    # Receiving

    def arrived(self, server: str = "") -> Counter[str]:
        """Subjects at ``postfix`` or ``dovecot``, or at both, and how often each arrived."""
        text = self.cluster.exec(
            SERVERS, self.namespace, "sh", "-c", _SUBJECTS.format(server), container="dovecot"
        )
        return Counter(line.partition(":")[2].strip() for line in text.splitlines())

    def wait_for_mail(self, subject: str, server: str, *, within_s: float = 60.0) -> str:
        """The mail as the server stored it, once it has arrived."""
        script = f"grep -rls -m1 '^Subject: {subject}$' /mail/{server} | head -n1 | xargs -r cat"

        def look() -> str:
            return self.cluster.exec(SERVERS, self.namespace, "sh", "-c", script, container="dovecot")

        what = f"{subject!r} to arrive at {server}"
        return self.cluster.wait_for(look, what, within_s=within_s, namespace=self.namespace)

    def set_password(self, password: str, user: str = USER) -> None:
        """What the smart host accepts from now on for the user."""
        script = f"sed -i '/^{user}:/d' /login/users; echo '{user}:{{PLAIN}}{password}::::::' >>/login/users"
        self.cluster.exec(
            SERVERS, self.namespace, "sh", "-c", f"touch /login/users; {script}", container="dovecot"
        )


@contextmanager
def running(cluster: Cluster, namespace: str, image: str, folder: Path) -> Iterator[Peers]:
    """Both pods, ready, in a namespace that lets them be root (Pod Security ``baseline``)."""
    issued = Authority(folder).issue(f"smarthost.{namespace}.svc")
    files = {path.name: path.read_text("utf-8") for path in FILES.iterdir() if path.is_file()}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "peers"}, "data": files},
            tls_secret("smarthost-tls", issued.chain, issued.key),
            _service("smarthost", 25, 587),
            _service("dovecot", 24),
            _servers(image),
            _client(image),
        ],
        namespace,
    )
    peers = Peers(cluster, namespace)
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"pod/{SERVERS}", f"pod/{CLIENT}", f"--namespace={namespace}",
        "--timeout=120s", within_s=150,
    )  # fmt: skip
    peers.set_password(PASSWORD)
    yield peers


def _service(name: str, *ports: int) -> Body:
    listed = [{"name": f"port-{port}", "port": port} for port in ports]
    spec = {"selector": {"app": SERVERS}, "ports": listed}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _servers(image: str) -> Body:
    def container(name: str, port: int, *mounts: str) -> Body:
        return {
            "name": name,
            "image": image,
            "command": ["sh", f"/peers/{name}.sh"],
            "startupProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 60},
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 60},
            "volumeMounts": [
                {"name": mount, "mountPath": f"/{mount}"} for mount in ("peers", "mail", *mounts)
            ],
        }

    return _pod(
        SERVERS,
        containers=[container("postfix", 25, "tls"), container("dovecot", 24, "login")],
        volumes=[
            {"name": "peers", "configMap": {"name": "peers"}},
            {"name": "tls", "secret": {"secretName": "smarthost-tls"}},
            {"name": "mail", "emptyDir": {}},
            {"name": "login", "emptyDir": {}},
        ],
    )


def _client(image: str) -> Body:
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "client",
        "image": image,
        "command": ["sleep", "infinity"],
        "securityContext": secure,
        "volumeMounts": [{"name": "peers", "mountPath": "/peers"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    volumes = [{"name": "peers", "configMap": {"name": "peers"}}]
    return _pod(CLIENT, containers=[container], volumes=volumes, securityContext=user)


def _pod(name: str, **spec: Any) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False} | spec,
    }
