"""Makes the packages out of a binary: pack.py STAGE OUT ARCHITECTURE

STAGE holds `llm-proxy`, `llm-proxy.debug` and `manual/{man,completions}`. Only the standard library
and dpkg-deb are used. Every archive is sorted, owned by root and dated SOURCE_DATE_EPOCH, so that
the same input gives the same bytes.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])
# What each kind of package calls the architectures that rustc knows.
ARCHITECTURES = {
    "x86_64": {"deb": "amd64", "npm": "x64", "oci": "amd64"},
    "aarch64": {"deb": "arm64", "npm": "arm64", "oci": "arm64"},
}
SUMMARY = "A gateway between applications and LLM providers"


def names():
    lines = (ROOT / "dist/names.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def version():
    return re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def is_static(binary):
    """Whether an ELF file names no interpreter, which is what loads shared libraries."""
    data = binary.read_bytes()
    offset, size, count = (
        int.from_bytes(data[32:40], "little"),
        int.from_bytes(data[54:56], "little"),
        int.from_bytes(data[56:58], "little"),
    )
    kinds = [int.from_bytes(data[offset + size * at :][:4], "little") for at in range(count)]
    return 3 not in kinds  # PT_INTERP


# --- archives


def write_tar(path, entries, owner=(0, 0)):
    """Writes a tar file compressed by gzip. `entries` are (name, mode, bytes or None for a
    directory, owner or None).
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, mode, content, *rest in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, EPOCH
            info.uid, info.gid = rest[0] if rest else owner
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    data = gzip.compress(raw.getvalue(), 9, mtime=0)
    if path is not None:
        path.write_bytes(data)
    return raw.getvalue(), data


def tarball(stage, out, arch):
    """The binary, its manual and the completions, for those who place files themselves."""
    top = f"llm-proxy-{version()}-{arch}-linux"
    entries = [(f"{top}/llm-proxy", 0o755, (stage / "llm-proxy").read_bytes())]
    for name in ["LICENSE", "README.md"]:
        entries.append((f"{top}/{name}", 0o644, (ROOT / name).read_bytes()))
    for file in sorted((stage / "manual").rglob("*")):
        if file.is_file():
            entries.append((f"{top}/{file.relative_to(stage / 'manual')}", 0o644, file.read_bytes()))
    write_tar(out / f"{top}.tar.gz", entries)
    debug = gzip.compress((stage / "llm-proxy.debug").read_bytes(), 6, mtime=0)
    (out / f"{top}.debug.gz").write_bytes(debug)


def wheel(stage, out, arch):
    """A wheel whose only content is the binary, as a script: pip and uv put it on the PATH of the
    environment.
    """
    name, number = names()["PYPI_NAME"], version()
    stem = f"{name.replace('-', '_')}-{number}"
    # A static binary runs with any C library. One that is not (a test's) runs where it was built.
    platforms = [f"manylinux_2_17_{arch}", f"manylinux2014_{arch}", f"musllinux_1_1_{arch}"]
    platform = ".".join(platforms) if is_static(stage / "llm-proxy") else f"linux_{arch}"
    tags = [f"py3-none-{one}" for one in platform.split(".")]
    metadata = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\nSummary: {SUMMARY}\n"
        f"License: MIT\nRequires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n"
    )
    files = {
        f"{stem}.data/scripts/llm-proxy": (stage / "llm-proxy").read_bytes(),
        f"{stem}.dist-info/LICENSE": (ROOT / "LICENSE").read_bytes(),
        f"{stem}.dist-info/METADATA": metadata.encode() + (ROOT / "README.md").read_bytes(),
        f"{stem}.dist-info/WHEEL": "".join(
            ["Wheel-Version: 1.0\nGenerator: dist/pack.py\nRoot-Is-Purelib: false\n", *(f"Tag: {tag}\n" for tag in tags)]
        ).encode(),
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    )
    files[f"{stem}.dist-info/RECORD"] = (record + f"{stem}.dist-info/RECORD,,\n").encode()
    date = time.gmtime(max(EPOCH, 315532800))[:6]
    with zipfile.ZipFile(out / f"{stem}-py3-none-{platform}.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, data in files.items():
            info = zipfile.ZipInfo(path, date)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            archive.writestr(info, data)


def npm(stage, out, arch):
    """A package whose `bin` is the binary itself: no script of Node.js runs before it, and nothing
    is downloaded.
    """
    manifest = {
        "name": names()["NPM_NAME"],
        "version": version(),
        "description": SUMMARY,
        "license": "MIT",
        "os": ["linux"],
        "cpu": [ARCHITECTURES[arch]["npm"]],
        "bin": {"llm-proxy": "bin/llm-proxy"},
        "files": ["bin/llm-proxy"],
    }
    entries = [
        ("package/package.json", 0o644, json.dumps(manifest, indent=2).encode() + b"\n"),
        ("package/LICENSE", 0o644, (ROOT / "LICENSE").read_bytes()),
        ("package/README.md", 0o644, (ROOT / "README.md").read_bytes()),
        ("package/bin/llm-proxy", 0o755, (stage / "llm-proxy").read_bytes()),
    ]
    write_tar(out / f"{manifest['name']}-{manifest['version']}.tgz", entries)


# --- Debian


def deb(stage, out, arch):
    """A package with a service, built by dpkg-deb from a tree of files."""
    name, number, source = names()["DEB_NAME"], version(), ROOT / "dist/debian"
    tree = stage / "deb"
    files = {
        "usr/bin/llm-proxy": (stage / "llm-proxy", 0o755),
        "usr/lib/systemd/system/llm-proxy.service": (source / "llm-proxy.service", 0o644),
        "usr/lib/sysusers.d/llm-proxy.conf": (source / "sysusers.conf", 0o644),
        "etc/llm-proxy/llm-proxy.env": (source / "llm-proxy.env", 0o640),
        "usr/share/doc/llm-proxy/copyright": (ROOT / "LICENSE", 0o644),
        "usr/share/bash-completion/completions/llm-proxy": (stage / "manual/completions/llm-proxy.bash", 0o644),
        "usr/share/zsh/vendor-completions/_llm-proxy": (stage / "manual/completions/_llm-proxy", 0o644),
        "usr/share/fish/vendor_completions.d/llm-proxy.fish": (stage / "manual/completions/llm-proxy.fish", 0o644),
        "DEBIAN/conffiles": (source / "conffiles", 0o644),
        "DEBIAN/postinst": (source / "postinst", 0o755),
        "DEBIAN/prerm": (source / "prerm", 0o755),
        "DEBIAN/postrm": (source / "postrm", 0o755),
    }
    for path, (origin, mode) in files.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, target)
        target.chmod(mode)
    pages = tree / "usr/share/man/man1"
    pages.mkdir(parents=True)
    for page in sorted((stage / "manual/man").iterdir()):
        (pages / f"{page.name}.gz").write_bytes(gzip.compress(page.read_bytes(), 9, mtime=0))
    size = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file()) // 1024
    template = (source / "control").read_text()
    values = {"NAME": name, "VERSION": number, "ARCH": ARCHITECTURES[arch]["deb"], "SIZE": str(size)}
    (tree / "DEBIAN/control").write_text(re.sub(r"@(\w+)@", lambda found: values[found[1]], template))
    (tree / "DEBIAN/control").chmod(0o644)
    for directory in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        directory.chmod(0o755)
    target = out / f"{name}_{number}_{values['ARCH']}.deb"
    command = ["dpkg-deb", "--build", "--root-owner-group", "-Zxz", str(tree), str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


# --- image


def authorities():
    """The roots of the machine that builds: what Debian's ca-certificates installs."""
    for path in [os.environ.get("CA_BUNDLE", ""), "/etc/ssl/certs/ca-certificates.crt"]:
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    sys.exit("pack.py: no /etc/ssl/certs/ca-certificates.crt; install ca-certificates or set CA_BUNDLE")


def image(stage, out, arch):
    """An image of the OCI layout that `docker load` and `podman load` read too, made without an
    engine.

    It holds what the Dockerfile's last stage holds, and the same settings.
    """
    user = (10001, 10001)
    entries = [
        ("data", 0o755, None, user),
        ("etc", 0o755, None),
        ("etc/group", 0o644, b"root:x:0:\nllm-proxy:x:10001:\n"),
        ("etc/passwd", 0o644, b"root:x:0:0:root:/:/sbin/nologin\nllm-proxy:x:10001:10001::/data:/sbin/nologin\n"),
        ("etc/ssl", 0o755, None),
        ("etc/ssl/certs", 0o755, None),
        ("etc/ssl/certs/ca-certificates.crt", 0o644, authorities()),
        ("tmp", 0o1777, None),
        ("usr", 0o755, None),
        ("usr/bin", 0o755, None),
        ("usr/bin/llm-proxy", 0o755, (stage / "llm-proxy").read_bytes()),
    ]
    raw, layer = write_tar(None, entries)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
    second = 1_000_000_000
    config = {
        "created": created,
        "architecture": ARCHITECTURES[arch]["oci"],
        "os": "linux",
        "config": {
            "User": "10001:10001",
            "Env": ["PATH=/usr/bin", "DATA_DIR=/data", "HOST=0.0.0.0", "PORT=18000"],
            "Entrypoint": ["llm-proxy"],
            "Cmd": ["serve"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
            "ExposedPorts": {"18000/tcp": {}},
            "Healthcheck": {
                "Test": ["CMD", "llm-proxy", "health"],
                "Interval": 30 * second,
                "Timeout": 10 * second,
                "StartPeriod": 10 * second,
                "Retries": 3,
            },
            "Labels": {"org.opencontainers.image.version": version(), "org.opencontainers.image.licenses": "MIT"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(raw).hexdigest()}"]},
        "history": [{"created": created, "created_by": "dist/build"}],
    }
    blobs = {}

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    prefix = "application/vnd.oci.image"
    config_blob = blob(json.dumps(config).encode(), f"{prefix}.config.v1+json")
    layer_blob = blob(layer, f"{prefix}.layer.v1.tar+gzip")
    manifest = {"schemaVersion": 2, "mediaType": f"{prefix}.manifest.v1+json"}
    manifest |= {"config": config_blob, "layers": [layer_blob]}
    reference = f"{names()['IMAGE_NAME']}:{version()}"
    entry = blob(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": version(), "io.containerd.image.name": reference}
    index = {"schemaVersion": 2, "mediaType": f"{prefix}.index.v1+json", "manifests": [entry]}

    def path(described):
        return "blobs/sha256/" + described["digest"].removeprefix("sha256:")

    docker = [{"Config": path(config_blob), "RepoTags": [reference], "Layers": [path(layer_blob)]}]
    files = [
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("index.json", json.dumps(index).encode()),
        ("manifest.json", json.dumps(docker).encode()),
        *sorted(blobs.items()),
    ]
    with tarfile.open(out / f"{names()['IMAGE_NAME']}-{version()}-{arch}-image.tar", "w") as tar:
        for directory in ["blobs", "blobs/sha256"]:
            info = tarfile.TarInfo(directory)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, EPOCH
            tar.addfile(info)
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, EPOCH
            tar.addfile(info, io.BytesIO(data))


def main():
    stage, out, arch = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if arch not in ARCHITECTURES:
        sys.exit(f"pack.py: packages for {arch} are not known; add it to ARCHITECTURES")
    for make in [tarball, wheel, npm, deb, image]:
        make(stage, out, arch)


main()
