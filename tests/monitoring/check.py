#!/usr/bin/env python3
"""Puts a gateway under load, lets a Prometheus scrape it every second, and asks every query of the
dashboard and every rule: each returns data.

    check.py [--seconds 20] [--save FILE]

`--save` writes what the panels got over the time of the load, for grafana/render.py. It needs
`prometheus` and `promtool` (Debian: prometheus) and `openssl`; nothing but loopback is spoken to.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from load import PATIENCE, ROOT, Load, Stack, free_port

RULES = ROOT / "prometheus" / "rules"
DASHBOARD = ROOT / "grafana" / "dashboards" / "llm-proxy.json"
# Grafana's choices, all of them.
CHOICES = {"$provider": ".*", "$model": ".*"}


class Prometheus:
    def __init__(self, stack):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/v1"
        config = self._config(stack)
        subprocess.run(["promtool", "check", "config", config], check=True, stdout=subprocess.DEVNULL)
        self.log, self.process = stack.start("prometheus", [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={stack.dir / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}"])

    @staticmethod
    def _config(stack):
        """The one of the repository with another target, each second."""
        text = (ROOT / "prometheus" / "prometheus.yml").read_text()
        text = re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 1s", text)
        text = text.replace("rules/", f"{RULES}/").replace("llm-proxy:18001", f"127.0.0.1:{stack.port}")
        text = text.replace("metrics_path:", "scheme: https\n    tls_config: {insecure_skip_verify: true}\n    metrics_path:")
        path = stack.dir / "prometheus.yml"
        path.write_text(text)
        return path

    def ask(self, path, **query):
        url = f"{self.url}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.has_data("up == 1")
        except urllib.error.URLError:
            return False

    def has_data(self, expr):
        found = self.ask("query", query=expr)["result"]
        return any(math.isfinite(float(series["value"][1])) for series in found)


def queries():
    """Every expression of the dashboard and of the rules, with where it stands. Of an alert it is
    what is compared: it has a value without firing.
    """
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"panel `{panel['title']}`", target["expr"]
    for line in (RULES / "recording.yml").read_text().splitlines():
        if found := re.match(r" *- record: (\S+)", line):
            yield "recording.yml", found[1]
    for line in (RULES / "alerts.yml").read_text().splitlines():
        if found := re.match(r" *expr: (.*) (?:==|<|>) [\d.]+$", line):
            yield "alerts.yml", found[1]


def chosen(expr):
    for name, value in CHOICES.items():
        expr = expr.replace(name, value)
    return expr


def unanswered(prometheus):
    return [f"{place}: no data for {expr}" for place, expr in queries() if not prometheus.has_data(chosen(expr))]


def wait_until(what, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, f"{what}: not so after {PATIENCE} s"
        time.sleep(0.2)


def save(prometheus, path, start, end):
    """What each panel got, in steps of a second. Windows are as short as the run."""
    panels = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        series = []
        for target in panel.get("targets", []):
            expr = chosen(target["expr"]).replace("[5m]", "[15s]")
            answer = prometheus.ask("query_range", query=expr, start=start, end=end, step=1)
            series += [{"legend": target["legendFormat"], "labels": found["metric"], "values": found["values"]}
                       for found in answer["result"]]
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
        panels.append({"title": panel["title"], "type": panel["type"], "unit": unit, "series": series})
    Path(path).write_text(json.dumps({"start": start, "panels": panels}))


def static_checks():
    subprocess.run([sys.executable, ROOT / "grafana" / "build.py", "--check"], check=True)
    rules = [str(RULES / name) for name in ("recording.yml", "alerts.yml")]
    subprocess.run(["promtool", "check", "rules", *rules], check=True)
    subprocess.run(["promtool", "check", "config", "prometheus.yml"], check=True, cwd=ROOT / "prometheus")
    subprocess.run(["promtool", "test", "rules", "alerts.test.yml"], check=True, cwd=RULES)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--save", metavar="FILE")
    args = parser.parse_args()
    static_checks()
    with tempfile.TemporaryDirectory(prefix="llm-proxy-monitoring-") as directory:
        stack = Stack(directory)
        try:
            prometheus = Prometheus(stack)
            wait_until("the gateway is scraped", prometheus.is_up)
            start = time.time()
            load = Load(stack)
            try:
                time.sleep(args.seconds)
                wrong = []
                until = time.monotonic() + PATIENCE
                while (wrong := unanswered(prometheus)) and time.monotonic() < until:
                    time.sleep(1)
            finally:
                load.stop()
            sick = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"] if rule["health"] != "ok"]
            assert not sick, sick
            if args.save:
                save(prometheus, args.save, start, time.time())
        finally:
            stack.stop()
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(list(queries()))} queries, and each has data")


if __name__ == "__main__":
    main()
