#!/usr/bin/env python3
"""Times reports of what was spent in a month of ten million requests, on both stores.

usage: spend.py LLM_PROXY [--keys N] [--models N] [--providers N] [--most MS]

Fills the table of the sums with a month in which every key used every model at every provider on each
day, starts the gateway on it, and asks for each report some times. It prints the number of rows and the
median and the longest time of each report as its client sees it, and fails if a median is above --most
(100 ms). PostgreSQL is started from the binaries in the path; without them only the embedded store is
timed.
"""

import argparse
import http.client
import os
import pathlib
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

DAYS, REQUESTS, TRIES = 31, 10_000_000, 7
KEY = "admin-key-of-the-timing"
REPORTS = ["credential", "group", "tag", "model", "provider", "day"]
QUERIES = [f"by={by}" for by in REPORTS] + ["by=model&per=day", "by=day&tag=web", "by=model&credential_name=key-7", "by=credential&tag=web"]
# The month ended some days ago: old ones are removed.
FIRST = (int(time.time()) // 86_400 - 40) * 86_400


def fill(shape: argparse.Namespace, run) -> int:
    """Writes the month with `run`, which takes a statement and its dialect is that of both stores."""
    rows = DAYS * shape.keys * shape.models * shape.providers
    each = max(1, REQUESTS // rows)
    numbers = lambda name, count: f"{name}(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM {name} WHERE n < {count - 1})"
    run(
        "INSERT INTO spend_days (day, key, credential, group_path, tags, model, provider, upstream_model, tier, requests,"
        " errors, input_tokens, output_tokens, cost) "
        f"WITH RECURSIVE {numbers('d', DAYS)}, {numbers('k', shape.keys)}, {numbers('m', shape.models)}, "
        f"{numbers('p', shape.providers)} "
        f"SELECT {FIRST} + d.n * 86400, 'row-' || k.n || '-' || m.n || '-' || p.n, 'key-' || k.n, 'group-' || k.n % 20,"
        " CASE k.n % 3 WHEN 0 THEN '' WHEN 1 THEN 'batch' ELSE 'batch,web' END, 'model-of-the-month-' || m.n,"
        f" 'provider-' || p.n, 'model-of-the-month-' || m.n, '', {each}, 1, {each} * 2000, {each} * 300, {each} * 4000000 "
        "FROM d, k, m, p"
    )
    return rows


def gateway(binary: str, environment: dict[str, str]) -> subprocess.Popen:
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return subprocess.Popen([binary, "serve"], env=base | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, query: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    days = [time.strftime("%Y-%m-%d", time.gmtime(FIRST + day * 86_400)) for day in (0, DAYS - 1)]
    path = f"/admin/v1/spend?{query}&start_time={days[0]}&end_time={days[1]}"
    connection.request("GET", path, headers={"authorization": f"Bearer {KEY}"})
    response = connection.getresponse()
    body = response.read()
    took = time.perf_counter() - began
    assert response.status == 200 and b'"requests"' in body, (response.status, body[:300])
    return took * 1000


def time_reports(name: str, binary: str, environment: dict[str, str], rows: int, most: float) -> bool:
    port = free_port()
    environment |= {"PORT": str(port), "HOST": "127.0.0.1", "ADMIN_KEY": KEY, "WORKERS": "1", "LOG_LEVEL": "error"}
    process = gateway(binary, environment)
    try:
        for _ in range(300):
            try:
                ask(port, "by=day")
                break
            except (OSError, AssertionError):
                time.sleep(0.1)
        good = True
        print(f"{name}: {rows} rows, {REQUESTS} requests")
        for query in QUERIES:
            times = sorted(ask(port, query) for _ in range(TRIES))
            median = statistics.median(times)
            good &= median <= most
            print(f"  {query:34} median {median:6.1f} ms, longest {times[-1]:6.1f} ms")
        return good
    finally:
        process.terminate()
        process.wait()


def embedded(binary: str, shape: argparse.Namespace, home: pathlib.Path) -> bool:
    environment = {"DATA_DIR": str(home / "data")}
    subprocess.run([binary, "migrate", "up"], env={"PATH": os.environ["PATH"]} | environment, check=True, stdout=subprocess.DEVNULL)
    with sqlite3.connect(home / "data" / "llm-proxy.db") as database:
        rows = fill(shape, database.execute)
    database.close()
    return time_reports("embedded store", binary, environment, rows, shape.most)


def postgres(binary: str, shape: argparse.Namespace, home: pathlib.Path) -> bool:
    own = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    place = pathlib.Path(tempfile.mkdtemp(prefix="llm-proxy-spend-"))
    if own:
        shutil.chown(place, "postgres", "postgres")
    data, port = place / "data", free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*own, "initdb", "-U", "timing", "--auth=trust", "-E", "UTF8", "--locale=C", "-D", data], check=True, **quiet)
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={place}"]
    server = subprocess.Popen([*own, "postgres", "-D", data, *options], **quiet)
    url = f"postgresql://timing@127.0.0.1:{port}/postgres"
    environment = {"DB_URL": url, "DATA_DIR": str(home / "copy")}
    try:
        for _ in range(100):
            if subprocess.run(["psql", url, "-c", "SELECT 1"], **quiet).returncode == 0:
                break
            time.sleep(0.1)
        subprocess.run([binary, "migrate", "up"], env={"PATH": os.environ["PATH"]} | environment, check=True, stdout=subprocess.DEVNULL)
        run = lambda statement: subprocess.run(["psql", url, "-q", "-c", statement, "-c", "ANALYZE"], check=True)
        rows = fill(shape, run)
        return time_reports("PostgreSQL", binary, environment, rows, shape.most)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary")
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--providers", type=int, default=2)
    parser.add_argument("--most", type=float, default=100)
    shape = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        good = embedded(shape.binary, shape, pathlib.Path(home))
        if shutil.which("initdb") and shutil.which("postgres") and shutil.which("psql"):
            good &= postgres(shape.binary, shape, pathlib.Path(home))
        else:
            print("PostgreSQL is not in the path and was not timed")
    sys.exit(0 if good else f"a report took more than {shape.most:.0f} ms")


if __name__ == "__main__":
    main()
