"""Names with markup, bodies with scripts, and another site that uses the session of the page."""

import http.server
import json
import threading

from browsing import PAGES, add_provider, admin, chat, create_key, sign_in
from playwright.sync_api import expect

MARKUP = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def test_names_and_bodies_with_markup_are_text(page, gateway):
    alerts = []
    page.on("dialog", lambda dialog: alerts.append(dialog.message))
    sign_in(page, gateway)
    add_provider(page, gateway, MARKUP)
    key = create_key(page, gateway, MARKUP)
    admin(gateway, "POST", "/groups", {"name": MARKUP, "allowed_models": [MARKUP]})
    admin(gateway, "POST", "/models", {"name": MARKUP, "members": [{"model": "mock-large"}, {"model": MARKUP, "priority": 1}]})
    budget = {"name": MARKUP, "scope": "credential", "subject": MARKUP, "amount": 5000, "unit": "tokens"}
    admin(gateway, "POST", "/budgets", budget)
    chat(gateway, key, messages=[{"role": "user", "content": MARKUP}])
    page.goto(f"{gateway.url}/ui/logs")
    page.get_by_label("Follow").check()
    expect(page.locator("#live tbody tr")).to_have_count(1, timeout=15000)
    asked = "search={0}&model={0}&credential={0}&session={0}&tag={0}&error={0}&client={0}&subject={0}&scope={0}&group={0}"
    query = asked.format("%22%3E%3Cscript%3Ealert(3)%3C%2Fscript%3E")
    details = ["providers/1", "keys/1", "groups/1", "models/1", "budgets/1", "logs/1", f"explain?model={query}"]
    for path in [*PAGES, *details]:
        page.goto(f"{gateway.url}/ui/{path}" + ("" if "?" in path else f"?{query}"))
        assert page.locator("img, main script:not([src])").count() == 0, path
    page.goto(f"{gateway.url}/ui/models/1")
    expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    assert alerts == []


class OtherSite:
    """A page of another origin, which the operator has opened in the same browser."""

    def __init__(self, html):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(html.encode())

            def log_message(self, *_):
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()


def test_another_site_neither_reads_nor_changes(page, gateway, browser):
    sign_in(page, gateway)
    context = browser.new_context(storage_state=page.context.storage_state())
    row = json.dumps({"name": "forged"})
    script = """async ([url, row]) => {
        const tries = [
            fetch(`${url}/admin/v1/credentials`, { method: "POST", body: row, credentials: "include", mode: "no-cors" }),
            fetch(`${url}/admin/v1/credentials`, { method: "POST", body: row, credentials: "include", headers: { "x-llm-proxy-page": "1" } }),
            fetch(`${url}/admin/v1/credentials`, { credentials: "include" }).then((answer) => answer.text()),
        ];
        return (await Promise.allSettled(tries)).map((one) => one.value?.type ?? one.value ?? "refused");
    }"""
    form = f'<form id="f" method="post" enctype="text/plain" action="{gateway.url}/admin/v1/credentials"><input name=\'{{"name":"forged","x":"\' value=\'"}}\'></form>'
    frame = f'<iframe src="{gateway.url}/ui"></iframe>'
    site = OtherSite(f"<title>other</title>{form}{frame}")
    try:
        other = context.new_page()
        other.goto(site.url)
        assert other.evaluate(script, [gateway.url, row]) == ["opaque", "refused", "refused"]
        assert all(not frame.url.endswith("/ui") or "Overview" not in frame.content() for frame in other.frames[1:])
        other.evaluate("document.getElementById('f').submit()")
        other.wait_for_load_state()
        assert admin(gateway, "GET", "/credentials")["credentials"] == []
    finally:
        site.stop()
        context.close()
