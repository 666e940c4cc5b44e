"""YAML files of RelayPools and MailRoutes, from text to objects.

Invariant tested: any text becomes objects and problems, and nothing else happens;
every problem has a file, a line of it, words and a remedy, on one line each,
and an object that is accepted is accepted again.
"""

from waystation_operator.api.parse import parse
from waystation_operator.api.problem import Located
from waystation_operator.api.yamltext import read

TOKENS = (
    b"apiVersion: waystation.dev/v1alpha1\n", b"kind: RelayPool\n", b"kind: MailRoute\n", b"kind: Secret\n",
    b"kind: List\nitems:\n", b"metadata: {name: a}\n", b"metadata:\n  name: a\n  namespace: b\n",
    b"spec:\n", b"  hostname: relay.example.com\n", b"  listeners:\n", b"  - name: smtp\n",
    b"    port: 25\n", b"spec: {}\n", b"  parentRefs:\n  - name: a\n", b"  backends:\n  - mx: {}\n",
    b"  - smartHost: {host: h.test, port: 1}\n", b"  - reject: {code: 550, enhanced: 5.7.1}\n",
    b"  match: {recipients: ['*']}\n", b"  queue: {size: 1Gi}\n", b"  retry: {first: 1m, max: 1h}\n",
    b"stringData: {username: a, password: b}\n", b"data: {a: '!!'}\n", b"---\n", b"...\n", b"&a ", b"*a",
    b"<<: *a\n", b"? ", b": ", b"- ", b"|\n", b">-\n", b"{", b"}", b"[", b"]", b",", b'"', b"'", b"#",
    b"!!int ", b"!!binary ", b"\t", b"\n", b"  ", b"null", b"~", b".inf", b".nan", b"0x1F", b"1_000",
    b"2001-01-01", b"1e999", b"%YAML 1.1\n---\n", b"\\ud800", b"[[[[[[[[", b"\0", "é".encode(), b"\x85",
)  # fmt: skip


def run(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return  # the loader says so
    sources, problems = read(text, "a.yaml")
    for located in problems:
        told(located, text)
    for source in sources:
        found, wrong = parse(source.body)
        assert (found is None) is bool(wrong)
        for problem in wrong:
            told(source.locate(problem), text)
        if found is not None:
            assert parse(source.body) == (found, [])


def told(located: Located, text: str) -> None:
    assert located.file == "a.yaml"
    assert 1 <= located.line <= text.count("\n") + text.count("\r") + len(text) + 1
    assert located.problem.problem
    assert located.problem.remedy
    said = str(located)
    assert said.encode()
    assert len(said.splitlines()) == 1, said
