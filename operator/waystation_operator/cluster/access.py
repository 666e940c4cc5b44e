"""How to reach the API server: the pod's ServiceAccount, or a kubeconfig.

Inside a pod the ServiceAccount counts, unless KUBECONFIG says otherwise;
elsewhere KUBECONFIG or ~/.kube/config. ``load`` reads everything anew, so a
rotated token or certificate is taken up by loading again.
"""

import os
import ssl
from pathlib import Path

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

KUBECONFIG = "KUBECONFIG"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_IN_POD = "KUBERNETES_SERVICE_HOST"
_DEFAULT = Path("~/.kube/config")
TOKEN = "BearerToken"  # noqa: S105 -- the name under which the client keeps it


class AccessError(Exception):
    """There is no way to the API server; the text says what to do."""


async def load() -> Configuration:
    """Raises ``AccessError``."""
    configuration = Configuration()
    given = os.environ.get(KUBECONFIG, "")
    try:
        if not given and _IN_POD in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await _from_kubeconfig(configuration, given)
        # What the client will do first, done here, where a bad file can still be named.
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except AccessError:
        raise
    except Exception as error:
        where = f"the kubeconfig {given or _DEFAULT}" if given or _IN_POD not in os.environ else "this pod"
        raise AccessError(
            f"the API server cannot be reached with what {where} says: {error}; "
            "try the same with `kubectl get --raw /version`"
        ) from error
    return configuration


async def _from_kubeconfig(configuration: Configuration, given: str) -> None:
    files = _files(given)
    if not any(file.is_file() for file in files):
        said = f"{KUBECONFIG} names {given}, which is no file" if given else f"there is no {_DEFAULT}"
        raise AccessError(
            f"no cluster to talk to: this is no pod with a ServiceAccount, and {said}; "
            f"set {KUBECONFIG} to the file that kubectl uses"
        )
    await load_kube_config(  # type: ignore[no-untyped-call]
        config_file=os.pathsep.join(map(str, files)),
        client_configuration=configuration,
        persist_config=False,
    )


def _files(given: str) -> list[Path]:
    return [Path(part).expanduser() for part in (given or str(_DEFAULT)).split(os.pathsep) if part]


def own_namespace() -> str:
    """The pod's namespace; ``default`` outside of one."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def token(configuration: Configuration) -> str:
    """The bearer token as it is now, or nothing; a token file is read again when it is due."""
    if configuration.refresh_api_key_hook is not None:
        configuration.refresh_api_key_hook(configuration)
    scheme, _, value = str(configuration.api_key.get(TOKEN, "")).partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
