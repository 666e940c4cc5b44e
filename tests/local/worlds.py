"""Plans for the tests of the local mode, from as little YAML as a test wants to write."""

from waystation_operator.api.parse import parse
from waystation_operator.api.yamltext import read
from waystation_operator.plan.relayconfig import Plan
from waystation_operator.plan.world import gather, plan_world

POOL = """
apiVersion: waystation.dev/v1alpha1
kind: RelayPool
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hostname: relay.example.com
  replicas: {replicas}
  listeners:
"""


def pool(name: str, *ports: int, replicas: int = 1, namespace: str = "mail") -> str:
    head = POOL.format(name=name, namespace=namespace, replicas=replicas)
    return head + "".join(
        f"  - {{name: l{port}, port: {port}, clients: {{cidrs: [127.0.0.0/8]}}}}\n" for port in ports
    )


def route(pool_name: str, backends: str, name: str = "all") -> str:
    return f"""
apiVersion: waystation.dev/v1alpha1
kind: MailRoute
metadata: {{name: {name}, namespace: mail}}
spec: {{parentRefs: [{{name: {pool_name}}}], backends: {backends}}}
"""


def secret(name: str, **data: str) -> str:
    pairs = ", ".join(f"{key}: {value!r}" for key, value in data.items())
    metadata = f"{{name: {name}, namespace: mail}}"
    return f"{{apiVersion: v1, kind: Secret, metadata: {metadata}, stringData: {{{pairs}}}}}\n"


def plans(*documents: str, base: int = 2500) -> list[Plan]:
    sources, unreadable = read("---\n".join(documents), "test.yaml")
    assert unreadable == []
    objects = []
    for source in sources:
        parsed, problems = parse(source.body)
        assert problems == []
        assert parsed is not None
        objects.append(parsed)
    found, problems = plan_world(gather(objects), lambda port: base + port)
    assert problems == []
    return found
