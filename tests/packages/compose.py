"""Checks the compose files without a container engine: by the schema of the Compose specification,
with no key twice, and with every service, volume, network and file that they refer to.
"""

import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = [ROOT / "docker-compose.yml", *sorted(ROOT.glob("examples/*/compose.yaml"))]


def references(name, service, path, document):
    """Yields what a service refers to and the file does not have."""
    for other in service.get("depends_on", []):
        if other not in document["services"]:
            yield f"depends_on {other}"
    for network in service.get("networks", []):
        if network not in document.get("networks", {}):
            yield f"network {network}"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            if not (path.parent / source).exists():
                yield f"file {source}"
        elif source not in document.get("volumes", {}):
            yield f"volume {source}"
    build = service.get("build")
    if build and not (path.parent / build / "Dockerfile").exists():
        yield f"build {build}"
    if not build and "image" not in service:
        yield "neither image nor build"


def check(path):
    document = YAML(typ="safe").load(path)
    for name, service in document["services"].items():
        missing = list(references(name, service, path, document))
        assert not missing, f"{path.relative_to(ROOT)}: {name}: {missing}"
    return len(document["services"])


def main():
    assert len(FILES) >= 3, FILES
    validator = Path(sys.executable).parent / "check-jsonschema"
    subprocess.run([validator, "--quiet", "--builtin-schema", "vendor.compose-spec", *FILES], check=True)
    counts = [f"{path.relative_to(ROOT)} ({check(path)} services)" for path in FILES]
    print(f"compose files: {', '.join(counts)}")


main()
