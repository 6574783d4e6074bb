#!/usr/bin/env python3
"""Takes the pictures of the page for the guide, light and dark, from `llm-proxy demo`.

usage: screenshots.py LLM_PROXY DIRECTORY

The program needs what requirements.txt names. Each picture is a WebP file of the window; the last
line says how many bytes they are together.
"""

import base64
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUALITY = 0.82
# Name of the picture, and the page. Rows are those of the demo.
PICTURES = {
    "overview": "?period=3d", "providers": "/providers", "provider": "/providers/1", "models": "/models", "model": "/models/1",
    "explain": "/explain?model=smart", "keys": "/keys", "key": "/keys/1", "groups": "/groups", "group": "/groups/2",
    "budgets": "/budgets", "budget": "/budgets/1", "logs": "/logs", "request": "/logs/1100", "spend": "/spend?by=model",
    "playground": "/playground", "connect": "/connect", "prices": "/prices", "settings": "/settings", "audit": "/audit",
}  # fmt: skip
# A picture in a page of its own, which has no policy, becomes WebP there.
TO_WEBP = """async ([png, quality]) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


def demo(program):
    """Starts the demo. Returns it with its address and its two keys."""
    process = subprocess.Popen([program, "demo", "--port", "0"], stdout=subprocess.PIPE, text=True)
    said = ""
    while "listening:" not in said:
        said += process.stdout.readline()
    found = [re.search(rf"^{name}: (\S+)", said, re.MULTILINE)[1] for name in ["listening", "key", "admin key"]]
    return process, *found


def spend(url, key):
    """Some requests of this minute, so that a budget has something in it."""
    body = {"model": "demo-large", "max_tokens": 60, "messages": [{"role": "user", "content": "Summarise this. " * 60}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    for _ in range(40):
        request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
        urllib.request.urlopen(request, timeout=30).read()
        time.sleep(0.02)
    # Rows and budgets come to the store within seconds.
    time.sleep(6)


def prepare(page, name, key):
    if name != "playground":
        return
    page.get_by_label("Key of an application").fill(key)
    page.get_by_label("Second model").fill("demo-small")
    page.get_by_role("button", name="Send", exact=True).click()
    # The page's policy forbids to evaluate a condition again and again in it.
    for facts in page.locator("[data-part=facts]").all():
        expect(facts).to_contain_text("ended after")
    page.locator("#answers").scroll_into_view_if_needed()
    page.get_by_label("Key of an application").fill("")


def main():
    program, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    process, url, key, admin_key = demo(program)
    total = 0
    try:
        spend(url, key)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            painter = browser.new_page()
            page.goto(f"{url}/ui/sign-in#{admin_key}")
            page.wait_for_selector("nav[aria-label=Pages]")
            for name, path in PICTURES.items():
                page.goto(f"{url}/ui{path}")
                prepare(page, name, key)
                for scheme in ["light", "dark"]:
                    page.emulate_media(color_scheme=scheme)
                    png = base64.b64encode(page.screenshot()).decode()
                    picture = base64.b64decode(painter.evaluate(TO_WEBP, [png, QUALITY]))
                    (directory / f"{name}-{scheme}.webp").write_bytes(picture)
                    total += len(picture)
            browser.close()
    finally:
        process.terminate()
        process.wait(30)
    print(f"{2 * len(PICTURES)} pictures, {total} bytes")


if __name__ == "__main__":
    main()
