#!/usr/bin/env python3
"""Times the operator's page on full stores: 100,000 keys, as many changes, a million logged requests.

usage: page.py LLM_PROXY [--keys N] [--rows N] [--limit MS] [--store sqlite|postgres]

Fills an embedded store, and a PostgreSQL of its own, starts a gateway on each and reads every page
several times over one connection. Prints the median of each in milliseconds, and fails if one takes
longer than `--limit`. The rows go back 30 days; an eighth of them has tags and a session, and one of
fifty failed.
"""

import argparse
import glob
import http.client
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ADMIN_KEY = "the-admin-key-of-the-measurement"
ROOT = Path(__file__).resolve().parents[2]
READS = 5
DAYS = 30

# Path, and whether it is read with the last page of its list too.
PAGES = [
    "", "?period=3d", "?period=7d", "?period=30d", "/providers", "/models", "/groups", "/budgets", "/explain?model=gpt-4o",
    "/keys", "/keys?page=2000", "/keys?search=key-99999", "/keys?group=team-7", "/keys/77777",
    "/logs", "/logs?page=200", "/logs?cursor={old}", "/logs?credential_name=key-1", "/logs?credential_name=key-77777",
    "/logs?model=gpt-4o", "/logs?model=gpt-4o&page=200", "/logs?model=gpt-4o&cursor={old}", "/logs?provider_name=provider-3",
    "/logs?provider_name=provider-3&page=200", "/logs?credential_name=key-1&error_only=true", "/logs?status_code=500", "/logs?status_code=200",
    "/logs?error_only=true", "/logs?error_only=true&page=200", "/logs?session=session-5", "/logs?tag=tag-3", "/logs?tag=tag-3&page=200", "/logs?tag=none",
    "/logs?error=upstream+7", "/logs?error=none", "/logs?start_time={day}", "/logs?end_time={day}", "/logs?model=gpt-4o&start_time={day}", "/logs?request_id=req-500000",
    "/logs?credential_name=key-1&model=gpt-4o", "/logs?model=gpt-4o&provider_name=provider-3", "/logs?credential_name=key-1&tag=tag-3",
    "/logs?provider_name=provider-3&status_code=500", "/logs?model=gpt-4o&status_code=200", "/logs?credential_name=key-77777&status_code=200",
    "/logs?session=session-5&model=gpt-4o", "/logs?tag=tag-3&error_only=true", "/logs?model=gpt-4o&error=upstream+7",
    "/logs?model=gpt-4o&provider_name=provider-3&start_time={day}", "/logs?credential_name=key-1&model=gpt-4o&provider_name=provider-2&status_code=200",
    "/logs?model=gpt-5&provider_name=provider-9", "/logs?model=gpt-5&provider_name=provider-9&status_code=200", "/logs?model=gpt-5&status_code=200",
    "/logs/500000", "/spend", "/spend?by=group", "/spend?by=tag", "/spend?by=model", "/spend?by=provider", "/spend?by=day", "/playground", "/connect", "/prices",
    "/settings", "/audit", "/audit?before=1000", "/audit?object=key-77777&action=credential", "/audit?actor=nobody", "/audit?end_time={day}",
]  # fmt: skip

# With `i` from 1 on, as both stores write it; `||` binds before `%` in SQLite, and behind it in
# PostgreSQL. Half of the requests are those of ten keys.
KEY_OF = "'key-' || CASE WHEN i % 2 = 0 THEN i / 2 % 10 ELSE i * 7919 % {keys} END"
MODEL_OF = "CASE i % 8 WHEN 0 THEN 'gpt-4o' WHEN 1 THEN 'claude-opus-4-5' WHEN 2 THEN 'gpt-5' WHEN 6 THEN 'gpt-5' ELSE 'model-' || (i % 40) END"
# Many requests of this provider and many of gpt-5, and none of both.
PROVIDER_OF = "'provider-' || CASE i % 4 WHEN 1 THEN 9 ELSE i % 10 END"
COLUMNS = """request_id, endpoint, credential_name, model_requested, model_mapped, provider_name, provider_type, client_protocol,
    provider_protocol, status_code, input_tokens, output_tokens, total_tokens, total_duration_ms, ttft_ms, error_category,
    error_message, request_headers, cost, session, tags, trace"""
ROW = f"""'req-' || i, '/v1/chat/completions', {KEY_OF}, {MODEL_OF}, {MODEL_OF}, {PROVIDER_OF}, 'openai', 'openai', 'openai',
    CASE WHEN i % 50 = 0 THEN 500 ELSE 200 END, 100 + i % 900, 50 + i % 450, 150 + i % 900 + i % 450, 20 + i * 31 % 9000, 10 + i * 17 % 3000,
    CASE WHEN i % 50 = 0 THEN 'provider_5xx' END, CASE WHEN i % 50 = 0 THEN 'the upstream ' || (i % 100) || ' failed' END,
    '{{"user-agent":"OpenAI/Python 1.0","content-type":"application/json","x-request-id":"req-' || i || '"}}', 1000000 + i % 90000000,
    CASE WHEN i % 8 = 0 THEN 'session-' || (i % 1000) END, CASE WHEN i % 8 = 0 THEN ',tag-' || (i % 5) || ',' END,
    '{{"stages":[{{"stage":"auth","ms":0.01}}],"attempts":[],"request_bytes":100,"response_bytes":1000}}'"""


class Sqlite:
    name = "sqlite"

    def __init__(self, directory):
        self.environment = {"DATA_DIR": f"{directory}/data"}
        self._path = f"{directory}/data/llm-proxy.db"

    def run(self, *statements):
        path = self._path if os.path.exists(self._path) else glob.glob(f"{os.path.dirname(self._path)}/*.db*")[0]
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.close()

    @staticmethod
    def series(count):
        return f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"

    @staticmethod
    def moment(seconds):
        return f"CAST(({seconds}) * 1000000 AS INTEGER)"

    json, mapping, sealed = "'[]'", """'{"gpt-4o":"gpt-4o"}'""", "lower(hex(randomblob(32)))"

    def stop(self):
        pass


class Postgres:
    name = "postgres"

    def __init__(self, directory):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self._user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        self._data, self._programs = f"{directory}/pg", programs
        os.chmod(directory, 0o755)
        os.mkdir(self._data)
        if self._user:
            subprocess.run(["chown", "postgres", self._data], check=True)
        self._call("initdb", "-D", self._data, "-U", "llm", "-A", "trust", "--no-sync")
        socket = f"-k {self._data} -c listen_addresses='' -c fsync=off -c shared_buffers=256MB"
        self._call("pg_ctl", "-D", self._data, "-w", "-o", socket, "-l", f"{self._data}/log", "start")
        self._host = self._data
        self.environment = {"DB_URL": f"postgres://llm@/postgres?host={self._data}", "DATA_DIR": f"{directory}/data-pg"}

    def _call(self, program, *args):
        done = subprocess.run([*self._user, f"{self._programs}/{program}", *args], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *statements):
        for statement in statements:
            self._call("psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", self._host, "-U", "llm", "-d", "postgres", "-c", statement)

    @staticmethod
    def series(count):
        return f"generate_series(1::bigint, {count}) AS n(i)"

    @staticmethod
    def moment(seconds):
        return f"to_timestamp({seconds})"

    json, mapping, sealed = "'[]'::jsonb", """'{"gpt-4o":"gpt-4o"}'::jsonb""", "encode(sha256(i::text::bytea), 'hex')"

    def stop(self):
        self._call("pg_ctl", "-D", self._data, "-m", "immediate", "stop")


def fill(store, keys, rows):
    now = int(time.time())
    row = ROW.replace("{keys}", str(keys))
    series, moment = store.series, store.moment(f"{now} - i * ({DAYS} * 86400.0 / {rows})")
    enabled = "true" if store.name == "postgres" else "1"
    store.run(
        f"INSERT INTO credential_groups (name) SELECT 'team-' || i FROM {series(50)}",
        "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping) SELECT 'provider-' || i, 'openai', "
        f"'http://127.0.0.1:9/v1', 'sk-none', {store.mapping} FROM {series(10)}",
        "INSERT INTO budgets (name, scope, subject, amount) "
        f"SELECT 'budget-' || i, 'credential', 'key-' || i, 1000000000 FROM {series(1000)}",
        "INSERT INTO credentials (credential_key, name, allowed_models, is_enabled, group_name) "
        f"SELECT {store.sealed}, 'key-' || i, {store.json}, {enabled}, 'team-' || (i % 50 + 1) FROM {series(keys)}",
        "INSERT INTO spend_days (day, key, credential, group_path, tags, model, provider, upstream_model, tier, requests, input_tokens, "
        f"output_tokens, cost) SELECT {now // 86400 * 86400} - i % {DAYS} * 86400, 'k' || i, 'key-' || (i / {DAYS} % 1000), 'team-' || (i % 50 + 1), '', "
        f"{MODEL_OF}, 'provider-' || (i % 10), {MODEL_OF}, '', 16, 8000, 4000, 50000000 FROM {series(60_000)}",
        f"INSERT INTO audit_log (timestamp, actor, action, object, object_id) SELECT {moment}, 'admin:0123456789ab', "
        f"'credential.create', 'key-' || i, i FROM {series(keys)}",
        f"INSERT INTO request_logs (timestamp, {COLUMNS}) SELECT {moment}, {row} FROM {series(rows)}",
    )
    # The sums by the hour, as a step of the schema makes them of rows that are there.
    step = (ROOT / "migrations" / store.name / "0008_traces.up.sql").read_text()
    store.run("DELETE FROM log_hours", step[step.index("INSERT INTO log_hours") :])
    store.run("ANALYZE")


def wait_for(pattern, log):
    until = time.monotonic() + 120
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return found


class Gateway:
    def __init__(self, program, store, directory):
        self._log = Path(directory) / f"{store.name}.log"
        environment = {"PATH": os.environ["PATH"], "ADMIN_KEY": ADMIN_KEY, "REQUEST_LOG_RETENTION_DAYS": "60"} | store.environment
        command = [program, "serve", "--host", "127.0.0.1", "--port", "0"]
        self._process = subprocess.Popen(command, env=environment, cwd=directory, stdout=self._log.open("wb"), stderr=subprocess.STDOUT)
        self.address = wait_for(r"listening: http://([\d.:]+)", self._log)[1]

    def stop(self):
        self._process.terminate()
        self._process.wait(60)


def times(address):
    """Milliseconds of each page, and the bytes of its answer."""
    connection = http.client.HTTPConnection(address, timeout=600)

    def ask(method, path, **headers):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status in (200, 201, 204), f"{path}: {response.status} {body[:500]}"
        return response, body

    response, _ = ask("POST", "/ui/session", authorization=f"Bearer {ADMIN_KEY}")
    cookie = response.getheader("set-cookie").split(";")[0]
    found = {}
    # A row among the oldest, and a day in the middle.
    old = f"{int(time.time() - DAYS * 86_400 * 0.99) * 1_000_000}-0"
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAYS * 43_200))
    for path in PAGES:
        path, taken = path.format(old=old, day=day), []
        for _ in range(READS):
            began = time.perf_counter()
            _, body = ask("GET", f"/ui{path}", cookie=cookie)
            taken.append((time.perf_counter() - began) * 1000)
        assert b'role="alert"' not in body.replace(b'role="alert" hidden', b""), f"{path}: {body[:3000]}"
        found[path] = (statistics.median(taken), len(body))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--store", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    program, slow = os.path.abspath(options.program), []
    for kind in [Sqlite, Postgres]:
        if options.store and kind.name != options.store:
            continue
        with tempfile.TemporaryDirectory(prefix="llm-proxy-page-") as directory:
            store = kind(directory)
            try:
                # The first start makes the tables.
                Gateway(program, store, directory).stop()
                began = time.monotonic()
                fill(store, options.keys, options.rows)
                print(f"{kind.name}: {options.keys} keys and {options.rows} rows in {time.monotonic() - began:.0f} s", flush=True)
                gateway = Gateway(program, store, directory)
                for path, (ms, size) in times(gateway.address).items():
                    mark = "" if ms <= options.limit else "  SLOW"
                    print(f"{kind.name:9} {ms:8.1f} ms {size:8} B  /ui{path}{mark}", flush=True)
                    slow += [f"{kind.name} /ui{path}"] if mark else []
                gateway.stop()
            finally:
                store.stop()
    if slow:
        sys.exit(f"slower than {options.limit:.0f} ms: {', '.join(slow)}")


if __name__ == "__main__":
    main()
