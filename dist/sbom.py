#!/usr/bin/env python3
"""Writes the bill of materials of the program: its packages, with versions, licences and hashes.

usage: dist/sbom.py [FILE]

CycloneDX 1.6 as JSON, to FILE or to standard output, from `cargo metadata` and Cargo.lock: what the
binary `llm-proxy` is built of on this kind of machine, without what only tests and benches need. The
result is the same for the same commit: it has no time and no random number.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = "llm-proxy"


def metadata():
    host = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.removeprefix("host: ") for line in host.splitlines() if line.startswith("host: "))
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def reached(resolve, root):
    """The packages that the program needs to be built and run, by their ids, with what each needs."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    needs, open_ids = {}, [root]
    while open_ids:
        package = open_ids.pop()
        if package in needs:
            continue
        # Kind `dev` is for tests alone.
        found = [
            dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])
        ]
        needs[package] = sorted(found)
        open_ids.extend(found)
    return needs


def component(package, checksums):
    url = f"pkg:cargo/{package['name']}@{package['version']}"
    entry = {"type": "library", "bom-ref": url, "name": package["name"], "version": package["version"], "purl": url}
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def bill():
    data = metadata()
    lock = (ROOT / "Cargo.lock").read_bytes()
    locked = tomllib.loads(lock.decode())["package"]
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in locked}
    packages = {package["id"]: package for package in data["packages"]}
    root = next(package for package in data["packages"] if package["name"] == NAME)
    needs = reached(data["resolve"], root["id"])
    components = {package: component(packages[package], checksums) for package in needs}
    main = {**components.pop(root["id"]), "type": "application"}
    ref = lambda package: main["bom-ref"] if package == root["id"] else components[package]["bom-ref"]
    dependencies = [{"ref": ref(package), "dependsOn": [ref(need) for need in found]} for package, found in needs.items()]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(lock).digest()[:16], version=4)}",
        "version": 1,
        "metadata": {"component": main},
        "components": sorted(components.values(), key=lambda entry: entry["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda entry: entry["ref"]),
    }


def main():
    text = json.dumps(bill(), indent=2) + "\n"
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
