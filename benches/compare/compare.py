#!/usr/bin/env python3
"""Measures this gateway and its peers in front of the same mock, with `llm-proxy bench`.

Everything runs at once, each peer on the CPU of the targets and idle while another one is measured;
the mock and the generator are on other CPUs. `llm-proxy bench` interleaves the targets within each
case. Ratios are of one run; below 15 % they are equal on a virtual machine.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs" / "internals"
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
ADMIN_KEY = "admin-bench-0123456789abcdef0123456789"
MOCK, TLS_MOCK = 9100, 9101
EVENTS = "mock-stamp-interval-10-tokens-50"


class Peer:
    """A server in front of the mock. `models` says which names its targets have, and what they request."""

    def __init__(self, port: int, models: dict[str, str] | None = None, scheme: str = "http"):
        self.port, self.models, self.scheme = port, models, scheme
        self.process: subprocess.Popen | None = None


def filled(run: pathlib.Path, name: str, port: int, tls: bool = False) -> pathlib.Path:
    """The configuration of a peer, with TLS to its clients and to the mock, or without."""
    certificate = run / "certificate.pem"
    holes = {
        "@PORT@": port, "@RUN@": run, "@KEY@": KEY, "@CERTIFICATE@": certificate,
        "@MOCK@": TLS_MOCK if tls else MOCK, "@SCHEME@": "https" if tls else "http",
        "@NGINX_TLS@": " ssl" if tls else "", "@HAPROXY_TLS@": f" ssl crt {certificate}" if tls else "",
        "@HAPROXY_TLS_SERVER@": " ssl verify none" if tls else "",
    }
    text = (HERE / name).read_text()
    for hole, value in holes.items():
        text = text.replace(hole, str(value))
    path = run / f"{port}-{name}"
    path.write_text(text)
    return path


def certificate(run: pathlib.Path) -> None:
    """Makes the certificate of all TLS listeners, with its key in the same file, as haproxy wants it."""
    key, chain = run / "key.pem", run / "chain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True)
    (run / "certificate.pem").write_text(chain.read_text() + key.read_text())


def gateway(binary: str, run: pathlib.Path, port: int, tls: bool = False) -> list[str]:
    store = run / f"store-{port}"
    store.mkdir()
    env = {**os.environ, "DATA_DIR": str(store), "PORT": "1"}
    config = filled(run, "gateway.yaml", port, tls)
    subprocess.run([binary, "import", str(config)], env=env, check=True, capture_output=True)
    return [binary, "serve", "--workers", "1", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(store)]


def litellm(run: pathlib.Path, port: int) -> list[str]:
    """From PyPI, some 500 MB, in a folder that stays."""
    env = pathlib.Path(os.environ.get("COMPARE_PACKAGES", "target/compare")).resolve() / "litellm"
    if not (env / "bin" / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
        subprocess.run([str(env / "bin" / "pip"), "install", "-q", "litellm[proxy]"], check=True)
    config = filled(run, "litellm.yaml", port)
    return [str(env / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def portkey(run: pathlib.Path, port: int) -> list[str]:
    """From npm, in a folder that stays."""
    folder = pathlib.Path(os.environ.get("COMPARE_PACKAGES", "target/compare")).resolve() / "portkey"
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), "@portkey-ai/gateway"], check=True)
    start = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return ["node", str(start), f"--port={port}", "--headless"]


def placed(cpu: int, command: list[str]) -> list[str]:
    """The command on one CPU and, where that is allowed, before what else runs on the machine."""
    return ["taskset", "-c", str(cpu), *(["nice", "-n", "-20"] if os.geteuid() == 0 else []), *command]


def prefer(pid: int) -> None:
    """Gives the session of a process the weight of its niceness: Linux weighs sessions against each other first."""
    try:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("-20")
    except OSError:
        pass


def pinned(cpu: int, command: list[str], log: pathlib.Path, env: dict[str, str] | None = None) -> subprocess.Popen:
    with log.open("w") as out:
        process = subprocess.Popen(
            placed(cpu, command), stdout=out, stderr=out, start_new_session=True, env={**os.environ, **(env or {})},
        )
    prefer(process.pid)
    return process


def answers(port: int, scheme: str = "http") -> bool:
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}/v1/chat/completions", body, HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=5, context=ANY_CERTIFICATE) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


ANY_CERTIFICATE = ssl._create_unverified_context()
HEADERS = {
    "Content-Type": "application/json",
    "Authorization": f"Bearer {KEY}",
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": f"http://127.0.0.1:{MOCK}/v1",
}


def wait(peer: str, port: int, process: subprocess.Popen, log: pathlib.Path, scheme: str = "http") -> None:
    deadline = time.monotonic() + 90
    while not answers(port, scheme):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{peer} does not answer on port {port}: {log.read_text()[-1000:]}")
        time.sleep(0.2)


def cases(options: argparse.Namespace) -> list[tuple[str, str, list[str], str]]:
    """Name, title, arguments of the generator and model of each case."""
    length = ["--duration", str(options.seconds), "--rounds", str(options.rounds)]
    busy, rate = [*length, "--connections", "64"], [*length, "--rate", str(options.rate)]
    return [
        ("json", "JSON, 64 connections", busy, "mock"),
        ("stream", "Streams of 62 tokens, 64 connections", [*busy, "--stream"], "mock-tokens-62"),
        ("json-single", "JSON, one connection", [*length, "--connections", "1"], "mock"),
        ("stream-single", "Streams of 62 tokens, one connection", [*length, "--connections", "1", "--stream"], "mock-tokens-62"),
        ("rate", f"JSON, {options.rate} requests a second", rate, "mock"),
        ("changes", "The same while the gateway's configuration changes each second", rate, "mock"),
        ("large", "Prompts of 1 MB, 8 connections", [*length, "--connections", "8", "--prompt-bytes", "1000000"], "mock"),
        ("tls", "JSON, 64 connections, TLS to the clients and to the provider", [*busy, "--insecure"], "mock"),
        ("tls-stream", "Streams of 62 tokens, the same", [*busy, "--insecure", "--stream"], "mock-tokens-62"),
        ("events", "Each event of 100 streams a second, one event in 10 ms", [*length, "--rate", "100", "--stream"], EVENTS),
    ]


class Changes:
    """Changes the configuration of a gateway each second, over its admin interface, until it is closed."""

    def __init__(self, port: int):
        self.base, self.done = f"http://127.0.0.1:{port}/admin/v1/providers", 0
        self.stop = threading.Event()
        made = self.call("POST", "", {
            "provider_key": "changed", "provider_type": "openai", "api_base": f"http://127.0.0.1:{MOCK}/v1",
            "api_key": "upstream-key", "model_mapping": {"unused": "unused"}, "weight": 1,
        })
        self.id = made["provider"]["id"]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.base + path, data, headers, method=method)) as response:
            return json.load(response)

    def run(self) -> None:
        while not self.stop.wait(1):
            self.done += 1
            self.call("PATCH", f"/{self.id}", {"weight": 1 + self.done % 2})

    def close(self) -> None:
        self.stop.set()
        self.thread.join()


def measure(binary: str, cpu: int, peers: dict[str, Peer], case: tuple, run: pathlib.Path) -> dict:
    name, _, arguments, model = case
    tls = name.startswith("tls")
    targets = [f"direct={'https' if tls else 'http'}://127.0.0.1:{TLS_MOCK if tls else MOCK}#{model}"]
    processes = []
    for peer, it in peers.items():
        if (it.scheme == "https") != tls:
            continue
        for target, prefix in (it.models or {peer.removesuffix(" tls"): "mock"}).items():
            targets.append(f"{target}={it.scheme}://127.0.0.1:{it.port}#{model.replace('mock', prefix, 1)}")
            processes += ["--process", f"{target}={it.process.pid}"]
    # Ratios are to the first of the peers: the mock itself comes last.
    targets = targets[1:] + targets[:1]
    headers = [f"{name}: {value}" for name, value in HEADERS.items() if name.startswith("x-")]
    command = placed(cpu, [binary, "bench", *targets, *processes, *arguments, "--key", KEY, "--json"])
    command += [word for header in headers for word in ("--header", header)] + ["--plot", str(run / f"{name}.svg")]
    changes = Changes(peers["llm-proxy"].port) if name == "changes" else None
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    prefer(bench.pid)
    out, errors = bench.communicate()
    if changes:
        changes.close()
    if bench.returncode != 0:
        sys.exit(f"{name}: {errors}")
    return json.loads(out)


def number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def table(case: tuple, report: dict, base: str) -> str:
    """The rows of a case; what is added is compared with the mock without anything in front of it."""
    by_name = {target["name"]: target for target in report["targets"]}
    figures = "events_under_way_us" if case[0] == "events" else "latency_us"
    direct = by_name["direct"][figures]
    what = "event" if case[0] == "events" else "latency"
    lines = [
        f"| | a second | x {base} | CPU us | x {base} | CPU | {what} p50 us | p99 | p99.9 | added p50 | added p99 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, target in by_name.items():
        times = target[figures]
        added = ["", ""] if name == "direct" else [f"{times[p] - direct[p]:+,.0f}" for p in ("p50", "p99")]
        share = target["cpu_share"]
        cells = [
            name, number(target["requests_per_second"]), number(target["rate_ratio"], 2),
            number(target["cpu_us_per_request"], 1), number(target["cpu_ratio"], 2),
            "" if share is None else f"{share:.0%}",
            *(number(times[p]) for p in ("p50", "p99", "p99.9")), *added,
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if target["failed"]:
            lines.append(f"| {name} failed | {target['failed']} |" + " |" * 9)
    return "\n".join(lines)


def machine(options: argparse.Namespace, cpus: list[int], command: str) -> str:
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    version = subprocess.run([options.binary, "version"], capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{version}, {platform.system()} {platform.release()}, {len(names)} CPUs ({names[0] if names else platform.machine()}).\n"
        f"Targets on CPU {cpus[0]}, mock on CPU {cpus[1]}, generator on CPU {cpus[2]}; "
        f"{options.rounds} rounds of {options.seconds:g} s.\nMade by `{command}`."
    )


TLS_PEERS = ("nginx", "haproxy", "llm-proxy")


def peer_command(
    parser: argparse.ArgumentParser, options: argparse.Namespace, name: str, run: pathlib.Path, port: int, tls: bool = False,
) -> tuple[list[str], dict[str, str], dict[str, str] | None]:
    """The command of a peer, its environment, and its models by the names of their targets."""
    gateway_env = {"LOG_LEVEL": "warn", "ADMIN_KEY": ADMIN_KEY}
    match name:
        case "nginx":
            return ["/usr/sbin/nginx", "-c", str(filled(run, "nginx.conf", port, tls))], {}, None
        case "haproxy":
            return ["/usr/sbin/haproxy", "-db", "-f", str(filled(run, "haproxy.cfg", port, tls))], {}, None
        case "litellm":
            return litellm(run, port), {}, None
        case "portkey":
            return portkey(run, port), {}, None
        case "jsonl":
            log = {"JSONL_LOG_ENABLED": "true", "JSONL_LOG_PATH": str(run / "requests.jsonl")}
            return gateway(options.binary, run, port), {**gateway_env, **log}, None
        case "llm-proxy":
            env = {**gateway_env, **dict(pair.split("=", 1) for pair in options.env)}
            if tls:
                file = str(run / "certificate.pem")
                env |= {"TLS_CERT": file, "TLS_KEY": file, "VERIFY_SSL": "false"}
            models = {"llm-proxy": "mock", "llm-proxy translated": "translated"}
            return gateway(options.binary, run, port, tls), env, models
    parser.error(f"there is no peer `{name}`")


def start(
    started: list[subprocess.Popen], cpu: int, name: str, peer: Peer, command: list[str], env: dict[str, str], run: pathlib.Path,
) -> Peer:
    """Starts a peer on its CPU, and returns when it answers."""
    log = run / f"{name}-{peer.port}.log"
    peer.process = pinned(cpu, command, log, env)
    started.append(peer.process)
    wait(name, peer.port, peer.process, log, peer.scheme)
    return peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--peers", default="nginx,haproxy", help="nginx, haproxy, litellm, portkey, jsonl (this gateway with a JSONL log); ratios are to the first")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=5000, help="requests a second of the case at a rate")
    parser.add_argument("--cases", help="only these, such as json,stream")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the gateway")
    parser.add_argument("--write", action="store_true", help="write comparison.md of docs/internals, and its pictures")
    options = parser.parse_args()
    options.binary = str(pathlib.Path(options.binary).resolve())
    cpus = sorted(os.sched_getaffinity(0))
    cpus = [cpus[min(at, len(cpus) - 1)] for at in range(3)]
    run = pathlib.Path(tempfile.mkdtemp(prefix="compare-"))
    # What nginx writes as another user.
    run.chmod(0o755)
    wanted = [case for case in cases(options) if not options.cases or case[0] in options.cases.split(",")]
    certificate(run)
    started: list[subprocess.Popen] = []
    try:
        mock = pinned(cpus[1], [options.binary, "mock", "--port", str(MOCK)], run / "mock.log")
        started.append(mock)
        wait("the mock", MOCK, mock, run / "mock.log")
        peers: dict[str, Peer] = {}
        chosen = [name for name in options.peers.split(",") if name]
        for at, name in enumerate([*chosen, "llm-proxy"]):
            command, env, models = peer_command(parser, options, name, run, 9110 + at)
            peers[name] = start(started, cpus[0], name, Peer(9110 + at, models), command, env, run)
        if any(case[0].startswith("tls") for case in wanted):
            # The mock speaks TLS by a haproxy on its own CPU, which is no target.
            command = ["/usr/sbin/haproxy", "-db", "-f", str(filled(run, "haproxy-mock.cfg", TLS_MOCK))]
            start(started, cpus[1], "tls-mock", Peer(TLS_MOCK, scheme="https"), command, {}, run)
            for at, name in enumerate(name for name in [*chosen, "llm-proxy"] if name in TLS_PEERS):
                command, env, models = peer_command(parser, options, name, run, 9130 + at, tls=True)
                peer = Peer(9130 + at, models, "https")
                peers[f"{name} tls"] = start(started, cpus[0], name, peer, command, env, run)
        sections = []
        for case in wanted:
            report = measure(options.binary, cpus[2], peers, case, run)
            section = f"## {case[1]}\n\n{table(case, report, next(iter(peers)))}\n"
            print(section, flush=True)
            sections.append((case[0], section))
        if options.write:
            write(options, cpus, run, sections)
    finally:
        for process in started:
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        shutil.rmtree(run, ignore_errors=True)


def write(options: argparse.Namespace, cpus: list[int], run: pathlib.Path, sections: list[tuple[str, str]]) -> None:
    words = sys.argv[1:]
    shown = [word for at, word in enumerate(words) if word != "--binary" and words[at - 1] != "--binary"]
    head = (HERE / "head.md").read_text()
    parts = [head, machine(options, cpus, " ".join(["benches/compare/run", *shown])) + "\n"]
    for name, section in sections:
        picture = f"comparison-{name}.svg"
        shutil.copy(run / f"{name}.svg", DOCS / picture)
        parts.append(f"{section}\n![Distributions: {name}]({picture})\n")
    (DOCS / "comparison.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
