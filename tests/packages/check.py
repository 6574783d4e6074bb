"""Checks the packages that dist/build made: check.py DIRECTORY

Each is installed or unpacked where it disturbs nobody, and the gateway is run from it: --version,
and the demo with a request. What this machine can't show (no root, no npm) is named in the last
lines. What the installations print is compared with docs/guides/packages.md; with UPDATE_DOCS=1 it
is written there. Only the standard library is used.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zlib
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Only a hang is longer.
PATIENCE = 120
# Of the image, as a registry stores it.
LARGEST_IMAGE = 20 << 20

skipped = []


def names():
    lines = (ROOT / "dist/names.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def version():
    return re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def run(command, **options):
    """Runs to its end and returns what it printed; anything but success raises with all that it
    said.
    """
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def one(directory, pattern):
    found = list(directory.glob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


# --- what the guide shows


class Transcript:
    """Commands and what they print, as the guide shows them: without what differs from run to run."""

    GUIDE = ROOT / "docs/guides/packages.md"

    def __init__(self, name, *directories):
        self.name, self.directories, self.lines = name, directories, []

    def add(self, command, printed):
        for directory in self.directories:
            printed = printed.replace(f"{directory}/", "./")
        printed = re.sub(r"\bsk-[\w-]{20,}", "sk-...", printed)
        printed = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:18000", printed)
        printed = re.sub(r"-py3-none-\S+\.whl", "-py3-none-*.whl", printed)
        printed = re.sub(r" in \d+m?s\b", "", printed)
        # pip names a file from where it runs.
        printed = re.sub(r"^Processing \S*/", "Processing ./", printed, flags=re.M)
        lines = [line.rstrip() for line in printed.strip().splitlines()]
        # Where pip looks is a matter of the machine.
        self.lines += [f"$ {command}", *(line for line in lines if not line.startswith("Looking in "))]

    def compare(self):
        begin, end = f"<!-- transcript: {self.name} -->\n", "<!-- end -->"
        guide = self.GUIDE.read_text()
        before, _, rest = guide.partition(begin)
        shown, _, after = rest.partition(end)
        made = "\n```text\n" + "\n".join(self.lines) + "\n```\n\n"
        if os.environ.get("UPDATE_DOCS"):
            self.GUIDE.write_text(before + begin + made + end + after)
        else:
            assert shown == made, f"{self.GUIDE.name} shows another {self.name}; UPDATE_DOCS=1 writes it:\n{made}"


# --- the gateway, from whatever package


def first_lines(process, names_of_lines):
    """Reads `name: value` lines of the output, or messages of the log, until all of
    `names_of_lines` were there.
    """
    found, lines = {}, []
    for line in process.stdout:
        lines.append(line)
        text = json.loads(line)["message"] if line.startswith("{") else line.rstrip("\n")
        name, _, value = text.partition(": ")
        found[name] = value
        if set(names_of_lines) <= set(found):
            return found
    raise AssertionError(f"{process.args} ended before it printed {names_of_lines}: {''.join(lines)}")


@contextmanager
def running(command, lines, **options):
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, **options)

    def kill():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(PATIENCE, kill)
    watchdog.start()
    try:
        yield first_lines(process, lines)
        # As Ctrl-C does: to the program and to whatever has started it.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 0, f"{command} ended with {process.returncode}"
    finally:
        watchdog.cancel()
        kill()
        process.communicate()


def ask(url, key, model):
    """A request of Chat Completions; returns the text of the answer."""
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    answer = response.read().decode()
    assert response.status == 200, f"{response.status} {answer}"
    return json.loads(answer)["choices"][0]["message"]["content"]


def check_gateway(command, scratch, transcript=None):
    """--version, and the demo, from this command."""
    command = [str(word) for word in command]
    said = run([*command, "--version"])
    assert said.strip() == f"llm-proxy {version()}", said
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with running([*command, "demo", "--port", "0"], ["key", "admin key", "listening"], env=environment) as demo:
        assert ask(demo["listening"], demo["key"], "demo")
    if transcript:
        name = os.path.relpath(command[0], scratch)
        transcript.add(f"{name} --version", said)
        lines = [f"{line}: {demo[line]}" for line in ["key", "admin key", "listening"]]
        transcript.add(f"{name} demo", "\n".join([*lines, "..."]))
        transcript.compare()


# --- each package


def check_sums(packages):
    listed = dict(line.split("  ")[::-1] for line in (packages / "SHA256SUMS").read_text().splitlines())
    files = {file.name for file in packages.iterdir()} - {"SHA256SUMS"}
    assert files == set(listed), files ^ set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((packages / name).read_bytes()).hexdigest() == digest, name


def check_tarball(packages, scratch):
    archive = next(file for file in packages.glob("*-linux.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(scratch)
    top = scratch / archive.name.removesuffix(".tar.gz")
    listed = {str(file.relative_to(top)) for file in top.rglob("*") if file.is_file()}
    wanted = {"llm-proxy", "LICENSE", "README.md", "man/llm-proxy.1", "completions/llm-proxy.bash"}
    assert wanted <= listed, wanted - listed
    check_gateway([top / "llm-proxy"], scratch)
    run(["bash", "-n", top / "completions/llm-proxy.bash"])
    return top / "llm-proxy"


def check_wheel(packages, scratch):
    wheel = one(packages, "*.whl")
    transcript = Transcript("wheel", packages)
    transcript.add("python3 -m venv venv", run([sys.executable, "-m", "venv", scratch / "venv"]))
    printed = run([scratch / "venv/bin/pip", "install", "--no-index", "--disable-pip-version-check", wheel])
    transcript.add(f"venv/bin/pip install ./{names()['PYPI_NAME'].replace('-', '_')}-{version()}-py3-none-*.whl", printed)
    check_gateway([scratch / "venv/bin/llm-proxy"], scratch, transcript)
    shown = run([scratch / "venv/bin/pip", "show", "--disable-pip-version-check", names()["PYPI_NAME"]])
    assert f"Version: {version()}\n" in shown, shown
    if shutil.which("uvx"):
        cache = f"UV_CACHE_DIR={scratch / 'uv'}"
        check_gateway(["env", cache, "uvx", "--offline", "--quiet", "--from", wheel, "llm-proxy"], scratch)
    else:
        skipped.append("uvx: it is not installed")


def check_npm(packages, scratch):
    if not shutil.which("npm"):
        return skipped.append("the npm package: npm is not installed")
    package = one(packages, "*.tgz")
    quiet = ["--offline", "--no-audit", "--no-fund", "--loglevel=error", f"--cache={scratch / 'cache'}"]
    transcript = Transcript("npm")
    printed = run(["npm", "install", *quiet, "--prefix", scratch / "folder", package])
    transcript.add(f"npm install --prefix folder ./{package.name}", printed)
    check_gateway([scratch / "folder/node_modules/.bin/llm-proxy"], scratch, transcript)
    (scratch / "elsewhere").mkdir()
    said = run(["npx", "--yes", *quiet, "--package", package, "llm-proxy", "version"], cwd=scratch / "elsewhere")
    assert said.strip() == f"llm-proxy {version()}", said


def check_deb(packages, scratch):
    package, root = one(packages, "*.deb"), scratch / "root"
    fields = run(["dpkg-deb", "--field", package])
    assert f"Version: {version()}\n" in fields and "Package: llm-proxy\n" in fields, fields
    listed = run(["dpkg-deb", "--contents", package])
    assert all(line.split()[1] == "root/root" for line in listed.splitlines()), listed
    run(["dpkg-deb", "--extract", package, root])
    run(["dpkg-deb", "--control", package, scratch / "control"])
    transcript = Transcript("deb")
    transcript.add(f"dpkg-deb --extract ./{package.name} root", "")
    files = sorted(str(file.relative_to(scratch)) for file in root.rglob("*") if file.is_file())
    files = [file for file in files if "/man1/" not in file or file.endswith("/llm-proxy.1.gz")]
    transcript.add("find root -type f", "\n".join(files))
    check_gateway([root / "usr/bin/llm-proxy"], scratch, transcript)
    # What the administrator edits is kept by updates, and not readable by everyone.
    conffiles = (scratch / "control/conffiles").read_text().split()
    assert conffiles == ["/etc/llm-proxy/llm-proxy.env"], conffiles
    assert (root / "etc/llm-proxy/llm-proxy.env").stat().st_mode & 0o777 == 0o640
    for script in ["postinst", "prerm", "postrm"]:
        text = (scratch / "control" / script).read_text()
        run(["sh", "-n", scratch / "control" / script])
        assert "userdel" not in text and not re.search(r"rm .*/var/lib", text), f"{script} removes data"
    unit = (root / "usr/lib/systemd/system/llm-proxy.service").read_text()
    if shutil.which("systemd-analyze"):
        # The binary must be where the unit says, which is in the extracted tree here.
        placed = scratch / "llm-proxy.service"
        placed.write_text(unit.replace("/usr/bin/llm-proxy", str(root / "usr/bin/llm-proxy")))
        run(["systemd-analyze", "verify", "--man=no", placed])
        rating = run(["systemd-analyze", "security", "--no-pager", "--offline=yes", placed])
        level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", rating)[1])
        assert level < 2.0, rating
    else:
        skipped.append("the systemd unit's rating: systemd-analyze is not installed")
    check_settings(root, unit)
    assert (root / "usr/share/man/man1/llm-proxy.1.gz").exists()


def check_settings(root, unit):
    """Every variable of the configuration file and the unit is a setting of the gateway, or the key
    of a provider.
    """
    known = set(re.findall(r"^  ([A-Z_]+) ", run([root / "usr/bin/llm-proxy", "serve", "--help"]), re.M))
    text = (root / "etc/llm-proxy/llm-proxy.env").read_text()
    used = set(re.findall(r"^#?([A-Z_]+)=", text, re.M)) | set(re.findall(r"^Environment=(\w+)=", unit, re.M))
    assert len(used) > 5 and used - {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} <= known, used - known


def check_image(packages, scratch):
    """The image is an OCI layout whose digests are right, and its one layer is a root that the
    gateway runs in.
    """
    archive = one(packages, "*-image.tar")
    with tarfile.open(archive) as tar:
        tar.extractall(scratch / "layout")

    def blob(described):
        data = (scratch / "layout/blobs" / described["digest"].replace(":", "/")).read_bytes()
        assert len(data) == described["size"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == described["digest"]
        return data

    index = json.loads((scratch / "layout/index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    settings = config["config"]
    assert settings["User"] == "10001:10001" and settings["Cmd"] == ["serve"], settings
    layer = blob(manifest["layers"][0])
    root = scratch / "root"
    root.mkdir()
    (scratch / "layer.tar.gz").write_bytes(layer)
    with tarfile.open(scratch / "layer.tar.gz") as tar:
        modes = {member.name: (member.mode, member.uid) for member in tar}
        tar.extractall(root)
    assert modes["data"] == (0o755, 10001) and modes["tmp"] == (0o1777, 0), modes
    docker = json.loads((scratch / "layout/manifest.json").read_text())[0]
    assert docker["RepoTags"] == [f"{names()['IMAGE_NAME']}:{version()}"], docker
    assert json.loads((scratch / "layout" / docker["Config"]).read_text()) == config
    check_dockerfile(settings)
    return archive.stat().st_size


def check_dockerfile(settings):
    """The Dockerfile and the image that is made without an engine say the same."""
    text = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1]
    instructions = dict(line.split(" ", 1) for line in text.replace("\\\n", "").splitlines()[1:] if " " in line)
    assert instructions["USER"] == settings["User"]
    assert json.loads(instructions["ENTRYPOINT"]) == settings["Entrypoint"]
    assert json.loads(instructions["CMD"]) == settings["Cmd"]
    assert instructions["WORKDIR"] == settings["WorkingDir"]
    assert sorted(instructions["ENV"].split()) == sorted(settings["Env"])
    assert "llm-proxy" in instructions["HEALTHCHECK"] and instructions["EXPOSE"] == "18000"


def check_debug(packages, binary, scratch):
    """Line numbers of the stripped binary's addresses are in its .debug file."""
    if not shutil.which("addr2line") or not shutil.which("nm"):
        return skipped.append("line numbers: binutils are not installed")
    debug = scratch / "llm-proxy.debug"
    with open(debug, "wb") as file:
        subprocess.run(["gzip", "-cd", one(packages, "*.debug.gz")], stdout=file, check=True)
    assert "no symbols" in subprocess.run(["nm", str(binary)], capture_output=True, text=True).stderr
    symbols = run(["nm", "-C", debug])
    address = re.search(r"^(\w+) [tT] llm_proxy::main$", symbols, re.M)
    assert address, "no symbol llm_proxy::main"
    lines = run(["addr2line", "-f", "-C", "-e", debug, address[1]])
    assert re.search(r"src/main\.rs:\d+", lines), lines
    if is_static(binary):
        assert str(Path.home()) not in lines and str(ROOT) not in lines, lines
    # By this name and checksum a panic's backtrace finds the file, as debuggers do.
    link = scratch / "link"
    run(["objcopy", "--dump-section", f".gnu_debuglink={link}", binary, "/dev/null"])
    name, checksum = link.read_bytes().split(b"\0", 1)[0], link.read_bytes()[-4:]
    assert (name, checksum) == (b"llm-proxy.debug", struct.pack("<I", zlib.crc32(debug.read_bytes()))), name


# --- a root with nothing but the binary


def is_static(binary):
    return "statically linked" in subprocess.run(["ldd", str(binary)], capture_output=True, text=True).stderr + (
        subprocess.run(["ldd", str(binary)], capture_output=True, text=True).stdout
    )


def check_isolated(binary, scratch):
    """In a root that holds the binary, resolv.conf, hosts and authorities alone, it starts,
    resolves and answers.
    """
    if not is_static(binary):
        return skipped.append("a root with nothing but the binary: this one is not static")
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return skipped.append("a root with nothing but the binary: only root may make one")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        return skipped.append("a root with nothing but the binary: no network namespace can be made here")
    print(run(["unshare", "--net", sys.executable, __file__, "--isolated", binary, scratch]), end="")


def raise_loopback():
    with socket.socket() as any_socket:
        import fcntl

        up_and_running = struct.pack("16sh", b"lo", 0x41)
        fcntl.ioctl(any_socket, 0x8914, up_and_running)  # SIOCSIFFLAGS


def serve_names(asked):
    """A name server on 127.0.0.1:53: dns.test is 127.0.0.1, and has no IPv6 address."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, peer = server.recvfrom(4096)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += query[at] + 1
            kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
            asked.add(".".join(labels))
            known = labels == ["dns", "test"]
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\x04\x7f\0\0\1" if known and kind == 1 else b""
            head = query[:2] + (b"\x81\x80" if known else b"\x81\x83")
            counts = b"\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0"
            server.sendto(head + counts + query[12 : at + 5] + answer, peer)

    threading.Thread(target=serve, daemon=True).start()


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": f"from {self.headers['host'].split(':')[0]}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def serve_provider(context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def authority(scratch):
    """An authority of this test's own, and a certificate of it for dns.test."""
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority",
         "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", scratch / "ca.key", "-out", scratch / "ca.pem"])  # fmt: skip
    run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=dns.test",
         "-keyout", scratch / "leaf.key", "-out", scratch / "leaf.csr"])  # fmt: skip
    (scratch / "leaf.ext").write_text("subjectAltName=DNS:dns.test\nbasicConstraints=CA:FALSE\n")
    run(["openssl", "x509", "-req", "-days", "2", "-in", scratch / "leaf.csr", "-CA", scratch / "ca.pem",
         "-CAkey", scratch / "ca.key", "-CAcreateserial", "-extfile", scratch / "leaf.ext",
         "-out", scratch / "leaf.pem"])  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(scratch / "leaf.pem", scratch / "leaf.key")
    return context


def isolated(binary, scratch):
    raise_loopback()
    asked = set()
    serve_names(asked)
    plain, secure = serve_provider(), serve_provider(authority(scratch))
    root = scratch / "isolated"
    (root / "etc/ssl/certs").mkdir(parents=True)
    shutil.copy(binary, root / "llm-proxy")
    shutil.copy(scratch / "ca.pem", root / "etc/ssl/certs/ca-certificates.crt")
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost hosts.test\n")
    inside = {"preexec_fn": lambda: (os.chroot(root), os.chdir("/")), "env": {"DATA_DIR": "/data"}}
    gateway = "/llm-proxy"
    # Services that a machine may list and that are libraries of its own: none may be looked for.
    for services in [None, "hosts: files mymachines sss mdns4_minimal [NOTFOUND=return] dns myhostname\npasswd: files sss\n"]:
        if services:
            (root / "etc/nsswitch.conf").write_text(services)
            shutil.rmtree(root / "data")
        add = [gateway, "provider", "add", "--api-key", "sk-test", "--key"]
        run([*add, "hosts", "--base", f"http://hosts.test:{plain}/v1", "--map", "by-hosts=m"], **inside)
        run([*add, "dns", "--base", f"https://dns.test:{secure}/v1", "--map", "by-dns=m"], **inside)
        key = re.search(r"\bsk-\S+", run([gateway, "key", "create", "--name", "me"], **inside))[0]
        command = [gateway, "serve", "--host", "127.0.0.1", "--port", "0"]
        with running(command, ["listening"], **inside) as lines:
            assert ask(lines["listening"], key, "by-hosts") == "from hosts.test"
            assert ask(lines["listening"], key, "by-dns") == "from dns.test"
    assert "dns.test" in asked and "hosts.test" not in asked, asked
    print("isolated root: starts, resolves by hosts and by DNS, trusts its authorities, answers")


# --- all of it


def main():
    if sys.argv[1] == "--isolated":
        return isolated(Path(sys.argv[2]), Path(sys.argv[3]))
    packages = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:

        def scratch(name):
            path = Path(directory) / name
            path.mkdir()
            return path

        check_sums(packages)
        binary = check_tarball(packages, scratch("tarball"))
        check_wheel(packages, scratch("wheel"))
        check_npm(packages, scratch("npm"))
        check_deb(packages, scratch("deb"))
        image = check_image(packages, scratch("image"))
        check_debug(packages, binary, scratch("debug"))
        check_isolated(binary, scratch("isolated"))
        size = binary.stat().st_size
        print(f"binary {size / 1e6:.1f} MB, image {image / 1e6:.1f} MB")
        if is_static(binary):
            assert image < LARGEST_IMAGE, "the image is larger than 20 MB"
    for one_of_them in skipped:
        print(f"SKIPPED  {one_of_them}")


main()
