#!/usr/bin/env python3
"""Counts the instructions of a request with a small and with a large configuration, with callgrind.

usage: growth.py LLM_PROXY [CASE...]

The large one has 100,000 credentials and 1,000 providers with ten models each. What a request costs
must not depend on that: the check fails where it is more than LIMIT above the small one. Each case
is counted as in gateway.py, on the embedded store.
"""

import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import gateway

LIMIT = 0.03
CREDENTIALS, PROVIDERS, MODELS = 100_000, 1_000, 10
DEFAULT = ["json bypass", "json translated"]


def small(binary: str, port: int, folder: pathlib.Path) -> pathlib.Path:
    """Makes a store with the two providers and the credential of gateway.py."""
    store = folder / "small"
    store.mkdir()
    config = folder / "gateway.yaml"
    config.write_text(gateway.CONFIG.format(port=port, key=gateway.KEY))
    # Whoever writes looks whether a gateway is at this port, where none is.
    env = {**os.environ, "DATA_DIR": str(store), "PORT": "1"}
    subprocess.run([binary, "import", str(config)], env=env, check=True, capture_output=True)
    return store


def large(store: pathlib.Path, port: int, folder: pathlib.Path) -> pathlib.Path:
    """Makes a copy of a store with many more rows."""
    copy = pathlib.Path(shutil.copytree(store, folder / "large"))

    def key(n: int) -> str:
        return hashlib.sha256(f"sk-other-{n}".encode()).hexdigest()

    def mapping(n: int) -> str:
        return json.dumps({f"other-{n}-{m}": f"model-{m}" for m in range(MODELS)})

    base = f"http://127.0.0.1:{port}/v1"
    database = sqlite3.connect(copy / "llm-proxy.db")
    with database:
        database.executemany(
            "INSERT INTO credentials (credential_key, name) VALUES (?, ?)",
            ((key(n), f"other-{n}") for n in range(CREDENTIALS)),
        )
        database.executemany(
            "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping) VALUES (?, ?, ?, ?, ?)",
            ((f"other-{n}", "openai", base, "k", mapping(n)) for n in range(PROVIDERS)),
        )
    database.close()
    return copy


def count(binary: str, port: int, case: str, store: pathlib.Path) -> int:
    few, _ = gateway.run(binary, port, case, gateway.FEW, store)
    more, _ = gateway.run(binary, port, case, gateway.MORE, store)
    return (sum(more.values()) - sum(few.values())) // (gateway.MORE - gateway.FEW)


def main() -> None:
    binary, cases = sys.argv[1], sys.argv[2:] or DEFAULT
    port, grown = gateway.upstream(), []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        few_rows = small(binary, port, folder)
        many_rows = large(few_rows, port, folder)
        for case in cases:
            before, after = (count(binary, port, case, store) for store in (few_rows, many_rows))
            growth = (after - before) / before
            print(f"{case:20} {before:>8} with a small configuration, {after:>8} with a large one  {growth:+.1%}", flush=True)
            if growth > LIMIT:
                grown.append(case)
    if grown:
        sys.exit(f"more than {LIMIT:.0%} dearer with a large configuration: {', '.join(grown)}")


if __name__ == "__main__":
    main()
