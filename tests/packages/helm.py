"""Renders the Helm chart, and checks what comes out: helm.py check BINARY, or helm.py render for
the plain manifests.

Helm itself is a program of another language and not to be had from the registries of packages that
the tests use. The chart keeps to what is implemented here: text, `{{ pipelines }}` with `-` trims,
if/else if/else, range over a map with two variables, define, and the functions of FUNCTIONS. What
is not known is an error, and so is a value that values.yaml does not have, which Helm itself would
render as nothing.
"""

import copy
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy/helm/llm-proxy"
PLAIN = ROOT / "deploy/kubernetes/llm-proxy.yaml"
# The versions of Kubernetes that the manifests are validated against: the chart's oldest, and a
# recent one.
VERSIONS = ["1.30", "1.36"]

TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+)|(\$\w*|\.[\w.]*|[A-Za-z_]\w*)|([|(),]|:=))')


class Failure(Exception):
    """The chart uses what this renderer does not know, or a value that does not exist."""


# --- reading a template


def parse(text, name):
    """Returns the nodes of a template: strings, ("action", source) and blocks ("if" | "range" |
    "define", ...).
    """
    pieces, at = [], 0
    for found in re.finditer(r"\{\{(-?)\s*(/\*.*?\*/|.*?)\s*(-?)\}\}", text, re.S):
        pieces.append(text[at : found.start()])
        if found[1]:
            pieces[-1] = pieces[-1].rstrip(" \t\r\n")
        pieces.append(("action", found[2]))
        at = found.end()
        if found[3]:
            at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n"))
    pieces.append(text[at:])
    nodes, rest = block(pieces, name)
    if rest:
        raise Failure(f"{name}: an `end` or `else` without its beginning")
    return nodes


def block(pieces, name):
    """Takes nodes up to an `end` or `else`, which is left at the head of the rest."""
    nodes = []
    while pieces:
        piece, pieces = pieces[0], pieces[1:]
        if isinstance(piece, str):
            nodes.append(piece)
            continue
        word, _, source = piece[1].partition(" ")
        if word in ("end", "else"):
            return nodes, [piece, *pieces]
        if word in ("if", "range", "define"):
            node, pieces = opened(word, source, pieces, name)
            nodes.append(node)
        elif not word.startswith("/*"):
            nodes.append(piece)
    return nodes, []


def opened(word, source, pieces, name):
    body, rest = block(pieces, name)
    if not rest:
        raise Failure(f"{name}: `{word} {source}` has no end")
    closing, rest = rest[0][1], rest[1:]
    if closing == "end":
        return (word, source, body, []), rest
    if word != "if":
        raise Failure(f"{name}: `else` of a {word} is not supported")
    if closing == "else":
        other, rest = block(rest, name)
        return (word, source, body, other), rest[1:]
    # `else if X` is an `if` inside of the `else`, with one `end` for both.
    node, rest = opened("if", closing.removeprefix("else if "), rest, name)
    return (word, source, body, [node]), rest


# --- running it


class Scope:
    def __init__(self, templates, dot, variables):
        self.templates, self.dot, self.variables = templates, dot, variables

    def run(self, nodes):
        out = []
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif node[0] == "action":
                out.append(text_of(self.value(node[1])))
            elif node[0] == "if":
                out.append(self.run(node[2] if self.value(node[1]) else node[3]))
            elif node[0] == "range":
                found = re.fullmatch(r"(\$\w+), (\$\w+) := (.+)", node[1])
                if not found:
                    raise Failure(f"range {node[1]}: write `range $key, $value := MAP`")
                for key, value in sorted(self.value(found[3]).items()):
                    inner = {**self.variables, found[1]: key, found[2]: value}
                    out.append(Scope(self.templates, value, inner).run(node[2]))
            elif node[0] == "define":
                self.templates[node[1].strip('"')] = node[2]
        return "".join(out)

    def value(self, source):
        tokens, at = [], 0
        while source[at:].strip():
            found = TOKEN.match(source, at)
            if not found:
                raise Failure(f"not understood: {source[at:]!r} in {source!r}")
            tokens.append(next(group for group in found.groups() if group is not None))
            at = found.end()
        value, rest = self.pipeline(tokens)
        if rest:
            raise Failure(f"not understood: {rest} in {source!r}")
        return value

    def pipeline(self, tokens):
        value, tokens = self.call(tokens, [])
        while tokens and tokens[0] == "|":
            value, tokens = self.call(tokens[1:], [value])
        return value, tokens

    def call(self, tokens, piped):
        head, rest = tokens[0], tokens[1:]
        if not re.fullmatch(r"[A-Za-z_]\w*", head) or head in ("true", "false"):
            return self.term(tokens)
        arguments = []
        while rest and rest[0] not in ("|", ")"):
            value, rest = self.term(rest)
            arguments.append(value)
        arguments += piped
        if head == "include":
            template = self.templates.get(arguments[0])
            if template is None:
                raise Failure(f"no template {arguments[0]}")
            return Scope(self.templates, arguments[1], {"$": arguments[1]}).run(template), rest
        if head not in FUNCTIONS:
            raise Failure(f"the function {head} is not supported")
        return FUNCTIONS[head](*arguments), rest

    def term(self, tokens):
        token, rest = tokens[0], tokens[1:]
        if token == "(":
            value, rest = self.pipeline(rest)
            return value, rest[1:]
        if token.startswith('"'):
            return yaml.safe_load(token), rest
        if re.fullmatch(r"-?\d+", token):
            return int(token), rest
        if token in ("true", "false"):
            return token == "true", rest
        if token.startswith("$"):
            return self.variables[token], rest
        if not token.startswith("."):
            raise Failure(f"a value is missing before {token}")
        value = self.dot
        for name in token[1:].split("."):
            if name:
                if not isinstance(value, dict) or name not in value:
                    raise Failure(f"{token} does not exist")
                value = value[name]
        return value, rest


def text_of(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def to_yaml(value):
    return yaml.safe_dump(value, default_flow_style=False, sort_keys=True).removesuffix("...\n").rstrip("\n")


def indented(count, text):
    return "\n".join(" " * count + line if line else line for line in text.split("\n"))


def quote(value):
    escaped = text_of(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


FUNCTIONS = {
    "add": lambda *numbers: sum(numbers),
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "contains": lambda part, text: part in text,
    "default": lambda other, value: value or other,
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "nindent": lambda count, text: "\n" + indented(count, text),
    "not": lambda value: not value,
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "printf": lambda form, *values: form % values,
    "quote": quote,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "toYaml": to_yaml,
}


# --- the chart


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def merged(base, over):
    """As Helm merges values: maps key by key, all else whole."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def render(values, release="llm-proxy", namespace="llm-proxy", service="Helm"):
    """Returns the text of each template by its file name."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    dot = {
        "Values": merged(defaults(), values),
        "Release": {"Name": release, "Namespace": namespace, "Service": service},
        "Chart": {"AppVersion": chart["appVersion"], "Version": chart["version"], "Name": chart["name"]},
    }
    scope = Scope({}, dot, {"$": dot})
    scope.run(parse((CHART / "templates/_helpers.tpl").read_text(), "_helpers.tpl"))
    texts = {}
    for file in sorted((CHART / "templates").iterdir()):
        if file.name != "_helpers.tpl":
            try:
                texts[file.name] = scope.run(parse(file.read_text(), file.name))
            except Failure as failure:
                raise Failure(f"{file.name}: {failure}") from None
    return texts


def documents(texts):
    found = []
    for name, text in texts.items():
        if name.endswith(".yaml"):
            found += [document for document in yaml.safe_load_all(text) if document]
    return found


PLAIN_VALUES = {"secret": {"existing": "llm-proxy-secret"}}
PLAIN_HEAD = """\
# The gateway with a PostgreSQL store, without Helm. Apply secret.example.yaml first, with values of
# your own. Made from the chart in deploy/helm by:
# python3 tests/packages/helm.py render > deploy/kubernetes/llm-proxy.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: llm-proxy
"""


def plain():
    texts = render(PLAIN_VALUES, service="kubectl")
    parts = [text.strip("\n") for name, text in texts.items() if name.endswith(".yaml") and text.strip()]
    return PLAIN_HEAD + "".join(f"---\n{part}\n" for part in parts)


# --- checks


def leaves(values, path=""):
    """The paths of all values; maps that are empty or that templates take whole are leaves too."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}.{key}")
        else:
            yield f"{path}.{key}"


def check_every_value_is_used():
    source = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values((?:\.\w+)+)", source))
    for leaf in leaves(defaults()):
        parts = leaf.split(".")
        prefixes = {".".join(parts[: count + 1]) for count in range(1, len(parts))}
        assert prefixes & used, f"values.yaml: {leaf} is used by no template"


def check_valid(name, found):
    import kubernetes_validate

    for document in found:
        if document["kind"] == "ServiceMonitor":
            continue  # a CustomResourceDefinition, of which the schemas of Kubernetes know nothing
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise AssertionError(f"{name}: {document['kind']}: {error.message} at {list(error.path)}") from None


def by_kind(found):
    kinds = {}
    for document in found:
        kinds.setdefault(document["kind"], []).append(document)
    return kinds


def check_links(name, found):
    """Labels, secrets, config maps and claims that one object names, another has."""
    kinds = by_kind(found)
    deployment = kinds["Deployment"][0]
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in kinds["Service"]]
    # What is scraped is a port of a service, and that one of the container.
    ports = {port["name"]: port["targetPort"] for service in kinds["Service"] for port in service["spec"]["ports"]}
    container_ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert set(ports.values()) <= container_ports, f"{name}: {ports}"
    variables = {one["name"] for one in pod["spec"]["containers"][0]["env"]}
    for monitor in kinds.get("ServiceMonitor", []):
        expected = "admin" if "ADMIN_ADDR" in variables else "http"
        assert [one["port"] for one in monitor["spec"]["endpoints"]] == [expected] and expected in ports, name
    selectors += [budget["spec"]["selector"]["matchLabels"] for budget in kinds.get("PodDisruptionBudget", [])]
    for selector in selectors:
        assert selector.items() <= labels, f"{name}: {selector} does not select the pods"
    names = {(document["kind"], document["metadata"]["name"]) for document in found}
    container = pod["spec"]["containers"][0]
    wanted = {("ServiceAccount", pod["spec"]["serviceAccountName"])}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            wanted.add(("ConfigMap", source["configMapRef"]["name"]))
        elif "Secret" in kinds:
            wanted.add(("Secret", source["secretRef"]["name"]))
    for volume in pod["spec"]["volumes"]:
        if "configMap" in volume:
            wanted.add(("ConfigMap", volume["configMap"]["name"]))
        if "persistentVolumeClaim" in volume:
            wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    assert wanted <= names, f"{name}: missing {wanted - names}"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}, name
    environment = {one["name"]: one["value"] for one in container["env"]}
    grace = int(environment["SHUTDOWN_GRACE_SECS"]) + container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > grace, f"{name}: killed before its grace is over"
    for source in [container["securityContext"], pod["spec"]["securityContext"]]:
        assert source.get("readOnlyRootFilesystem", True) and source.get("runAsNonRoot", True), name


def check_settings(found, help_text):
    """Each variable that the chart sets itself is one that the gateway has."""
    known = set(re.findall(r"^  ([A-Z_]+) ", help_text, re.M))
    container = by_kind(found)["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]
    names = {one["name"] for one in container["env"]} | set(by_kind(found)["ConfigMap"][0]["data"])
    assert names <= known, f"the gateway has no setting {names - known}"


CASES = {
    "defaults": ({}, "ConfigMap Deployment PodDisruptionBudget Secret Service ServiceAccount"),
    "file": (
        {"store": {"kind": "file"}, "secret": {"values": {"OPENAI_API_KEY": 'sk-"quoted"', "TEAM_A_KEY": "a: b"}}},
        "ConfigMap ConfigMap Deployment PodDisruptionBudget Secret Service ServiceAccount",
    ),
    "embedded": (
        {
            "store": {"kind": "embedded", "embedded": {"storageClass": "fast"}},
            "autoscaling": {"enabled": True},
            "secret": {"existing": "keys"},
        },
        "ConfigMap Deployment PersistentVolumeClaim Service ServiceAccount",
    ),
    "everything": (
        {
            "autoscaling": {"enabled": True},
            "adminPort": 18001,
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "secret": {"existing": "keys"},
            "imagePullSecrets": [{"name": "registry"}],
            "service": {"annotations": {"a": "b"}},
            "serviceAccount": {"annotations": {"a": "b"}},
            "podAnnotations": {"a": "b"},
            "podLabels": {"team": "a"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "llm", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "topologySpreadConstraints": [
                {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
            ],
        },
        "ConfigMap Deployment HorizontalPodAutoscaler PodDisruptionBudget Service Service ServiceAccount "
        "ServiceMonitor",
    ),
}


def check(help_text):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    number = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert chart["appVersion"] == chart["version"] == number, f"Chart.yaml is not of version {number}"
    check_every_value_is_used()
    for name, (values, kinds) in CASES.items():
        for release in ["llm-proxy", "eu"]:
            found = documents(render(values, release))
            assert " ".join(sorted(document["kind"] for document in found)) == kinds, name
            check_valid(name, found)
            check_links(name, found)
            check_settings(found, help_text)
    stored = by_kind(documents(render(*[CASES["file"][0]])))["Secret"][0]["stringData"]
    assert stored == CASES["file"][0]["secret"]["values"], stored
    assert PLAIN.read_text() == plain(), f"{PLAIN.name} is not what the chart gives; see its head"
    found = list(yaml.safe_load_all(PLAIN.read_text()))
    found += yaml.safe_load_all((PLAIN.parent / "secret.example.yaml").read_text())
    check_valid("plain", found)
    check_links("plain", found)
    print(f"chart: {len(CASES)} sets of values and the plain manifests, valid for Kubernetes {' and '.join(VERSIONS)}")


if __name__ == "__main__":
    if sys.argv[1:] == ["render"]:
        sys.stdout.write(plain())
    else:
        check(subprocess.run([sys.argv[2], "serve", "--help"], check=True, capture_output=True, text=True).stdout)
