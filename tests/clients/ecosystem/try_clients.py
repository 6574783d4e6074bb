"""Tries the clients of `llm-proxy connect` that a package registry has, with the settings that it
prints.

Each client is installed into a directory of its own below `CLIENTS_DIR`, run against a gateway
before the mock, once with the provider's own format and once translated, and must show the mock's
words. `--update` writes version and day into `src/config/clients.rs`, from which the guide is
generated. Those in `LARGE` are tried only if they are named.

    LLM_PROXY_BIN=target/debug/llm-proxy CLIENTS_DIR=target/clients/ecosystem python3 try_clients.py
    [--update] [NAME...]
"""

import datetime
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from stack import BINARY, LISTED, ROOT, USUAL, Stack  # noqa: E402

DIR = Path(os.environ.get("CLIENTS_DIR", ROOT / "target" / "clients" / "ecosystem")).resolve()
TABLE = ROOT / "src" / "config" / "clients.rs"
# The format of the provider itself, and a translation.
MODELS = ["mock-small", "translated"]
# Clients that ask for no model but those of the gateway's list.
OF_THE_LIST = {"open-webui": [LISTED, "translated"]}
INSTALL_SECONDS, RUN_SECONDS = 900, 180

# What gets the client: packages of PyPI or npm, the first of which names the version.
PYTHON = {
    "langchain-python": ["langchain-openai"],
    "llamaindex": ["llama-index-llms-openai-like"],
    "pydantic-ai": ["pydantic-ai-slim[openai]"],
    "openai-agents": ["openai-agents"],
    "instructor": ["instructor"],
    "dspy": ["dspy"],
    "smolagents": ["smolagents[openai]"],
    "haystack": ["haystack-ai"],
    "litellm": ["litellm"],
    "llm": ["llm"],
    "aider": ["aider-chat"],
    "open-webui": ["open-webui"],
}
NODE = {
    "vercel-ai": ["ai", "@ai-sdk/openai"],
    "langchain-js": ["@langchain/openai", "@langchain/core"],
    "opencode": ["opencode-ai"],
    "continue": ["@continuedev/cli"],
    "cline": ["cline"],
    # It needs Node.js 24, which npm has as a package.
    "n8n": ["n8n@2.40", "node@24"],
}
# Programs of several gigabytes, which are tried by name alone.
LARGE = ["open-webui", "n8n"]
# Clients that read a structure out of the response show what the mock fills it with.
STRUCTURED = {"instructor": "some text"}


def run(command, seconds, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, **options
    )


def check(done, what):
    if done.returncode:
        raise RuntimeError(f"{what} failed:\n{done.stdout[-2000:]}")
    return done.stdout


def install_python(name, packages):
    home = DIR / name
    if not (home / "installed").exists():
        venv.create(home, with_pip=True, clear=True)
        pip = [home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        check(run([*pip, *packages], INSTALL_SECONDS), "pip install")
        (home / "installed").touch()
    package = packages[0].split("[")[0]
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return check(run([home / "bin" / "python", "-c", code], RUN_SECONDS), "version").strip()


def install_node(name, packages):
    home = DIR / name
    if not (home / "installed").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"type":"module","private":true}')
        npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", home]
        if name == "n8n":
            # Of 17 packages with scripts at installation, one needs its own.
            check(run([*npm, packages[1]], INSTALL_SECONDS), "npm install node")
            env = own_node(home, os.environ)
            check(run([*npm, "--ignore-scripts", packages[0]], INSTALL_SECONDS, env=env), "npm install")
            check(run(["npm", "rebuild", "--prefix", home, "sqlite3"], INSTALL_SECONDS, env=env), "npm rebuild")
        else:
            check(run([*npm, *packages], INSTALL_SECONDS), "npm install")
        (home / "installed").touch()
    directory = packages[0].rsplit("@", 1)[0] or packages[0]
    package = json.loads((home / "node_modules" / directory / "package.json").read_text())
    return package["version"]


def own_node(home, env):
    """The environment with the Node.js that is installed in `home` before that of this machine."""
    return {**env, "PATH": f"{home / 'node_modules' / 'node' / 'bin'}:{env['PATH']}"}


def environment(home):
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
    # Nothing of the user's, nothing cached, and no proxy between the client and the gateway.
    shutil.rmtree(home / "home", ignore_errors=True)
    (home / "home").mkdir()
    return {**kept, "HOME": str(home / "home"), "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore"}


def settings(name, stack, model):
    command = [BINARY, "connect", name, "--url", stack.url, "--key", stack.key, "--model", model]
    # Notes for a person go to standard error.
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=RUN_SECONDS).stdout


def use_python(name, home, text, model):
    script = home / "program.py"
    script.write_text(text)
    return run([home / "bin" / "python", script], RUN_SECONDS, env=environment(home), cwd=home)


def use_node(name, home, text, model):
    script = home / "program.mjs"
    script.write_text(text)
    return run(["node", script], RUN_SECONDS, env=environment(home), cwd=home)


def use_llm(name, home, text, model):
    env = {**environment(home), "LLM_USER_PATH": str(home / "home")}
    key = re.search(r"--value (\S+)", text)[1]
    check(run([home / "bin" / "llm", "keys", "set", "gateway", "--value", key], RUN_SECONDS, env=env), "llm keys set")
    rows = text[text.index("- model_id") :]
    (home / "home" / "extra-openai-models.yaml").write_text(rows.split("\n\n")[0])
    return run([home / "bin" / "llm", "-m", "gateway", "Hello"], RUN_SECONDS, env=env, cwd=home)


def use_aider(name, home, text, model):
    exports = dict(re.findall(r"export (\w+)=(\S+)", text))
    model = re.search(r"--model (\S+)", text)[1]
    quiet = ["--message", "Hello", "--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings"]
    quiet += ["--no-analytics", "--no-pretty", "--no-stream", "--edit-format", "ask"]
    command = [home / "bin" / "aider", "--model", model, *quiet]
    env = {**environment(home), **exports}
    return run(command, RUN_SECONDS, env=env, cwd=home / "home")


def use_opencode(name, home, text, model):
    env = environment(home)
    (home / "home" / "opencode.json").write_text(text[text.index("{") : text.rindex("}") + 1])
    model = re.search(r'"models": \{ "([^"]+)"', text)[1]
    command = [home / "node_modules" / ".bin" / "opencode", "run", "--model", f"gateway/{model}", "Hello"]
    return run(command, RUN_SECONDS, env=env, cwd=home / "home")


def use_continue(name, home, text, model):
    config = home / "home" / "config.yaml"
    env = {**environment(home), "CONTINUE_TELEMETRY_ENABLED": "0"}
    config.write_text(text)
    command = [home / "node_modules" / ".bin" / "cn", "--config", config, "-p", "Say hello"]
    return run(command, RUN_SECONDS, env=env, cwd=home / "home")


def use_cline(name, home, text, model):
    env = environment(home)
    program = home / "node_modules" / ".bin" / "cline"
    line = next(line for line in text.splitlines() if line.startswith("cline auth "))
    check(run([program, *shlex.split(line)[1:]], RUN_SECONDS, env=env), "cline auth")
    # A prompt of one word would be read as a command.
    return run([program, "Say hello to me"], RUN_SECONDS, env=env, cwd=home / "home")


def use_n8n(name, home, text, model):
    """A workflow of a start, a chain and OpenAI's model, with the credential that is printed."""
    key, base, model = (line.split(": ", 1)[1] for line in text.splitlines()[:3])
    env = own_node(home, environment(home))
    env |= {"N8N_USER_FOLDER": str(home / "home"), "N8N_DIAGNOSTICS_ENABLED": "false"}
    credential = {"id": "c", "name": "gateway", "type": "openAiApi", "data": {"apiKey": key, "url": base}}
    nodes = [
        {"name": "Start", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1, "parameters": {}},
        {
            "name": "Chain",
            "type": "@n8n/n8n-nodes-langchain.chainLlm",
            "typeVersion": 1.5,
            "parameters": {"promptType": "define", "text": "Hello"},
        },
        {
            "name": "Model",
            "type": "@n8n/n8n-nodes-langchain.lmChatOpenAi",
            "typeVersion": 1.2,
            "parameters": {"model": {"__rl": True, "mode": "id", "value": model}, "options": {}},
            "credentials": {"openAiApi": {"id": "c", "name": "gateway"}},
        },
    ]
    nodes = [{"id": str(at), "position": [200 * at, 0], **node} for at, node in enumerate(nodes)]
    connections = {
        "Start": {"main": [[{"node": "Chain", "type": "main", "index": 0}]]},
        "Model": {"ai_languageModel": [[{"node": "Chain", "type": "ai_languageModel", "index": 0}]]},
    }
    workflow = {"id": "w", "name": "hello", "active": False, "nodes": nodes, "connections": connections}
    program = ["node", home / "node_modules" / "n8n" / "bin" / "n8n"]
    for what, rows in [("credentials", [credential]), ("workflow", [workflow])]:
        (home / f"{what}.json").write_text(json.dumps(rows))
        arguments = [f"import:{what}", f"--input={home / what}.json"]
        check(run([*program, *arguments], RUN_SECONDS, env=env, cwd=home), arguments[0])
    return run([*program, "execute", "--id=w", "--rawOutput"], RUN_SECONDS, env=env, cwd=home)


def use_open_webui(name, home, text, model):
    """The server with the container's variables, asked as its page asks it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**environment(home), **dict(re.findall(r"-e (\w+)=(\S+)", text))}
    # Nobody signs in, and nothing is fetched: neither models of Ollama nor those of embeddings.
    env |= {"WEBUI_AUTH": "False", "ENABLE_OLLAMA_API": "False", "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1"}
    env |= {"RAG_EMBEDDING_ENGINE": "openai", "DATA_DIR": str(home / "home"), "WEBUI_SECRET_KEY": "of-a-test"}
    command = [home / "bin" / "open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)]
    log = (home / "server.log").open("w")
    server = subprocess.Popen(command, env=env, cwd=home / "home", stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def ask(path, body=None, token=None):
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return json.loads(direct.open(request, timeout=RUN_SECONDS).read())

    try:
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            try:
                token = ask("/api/v1/auths/signin", {"email": "", "password": ""})["token"]
                break
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        # The page reads the list before it asks for one of them.
        ask("/api/models", token=token)
        messages = [{"role": "user", "content": "Hello"}]
        answer = ask("/api/chat/completions", {"model": model, "messages": messages, "stream": False}, token)
        return subprocess.CompletedProcess(command, 0, answer["choices"][0]["message"]["content"])
    finally:
        server.terminate()
        server.wait()
        log.close()


SPECIAL = {
    "llm": use_llm,
    "aider": use_aider,
    "opencode": use_opencode,
    "continue": use_continue,
    "cline": use_cline,
    "n8n": use_n8n,
    "open-webui": use_open_webui,
}


def end_daemons(home):
    """Ends what a client has left running, which has the client's directory in its command line."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{home}/".encode() in file.read_bytes():
                os.kill(int(file.parent.name), signal.SIGTERM)
        except (OSError, ValueError):
            # It has ended by itself, or is another user's.
            continue


def try_client(name, stack):
    """The version that works. Raises with what the client printed, if it does not."""
    version = install_python(name, PYTHON[name]) if name in PYTHON else install_node(name, NODE[name])
    use = SPECIAL.get(name, use_python if name in PYTHON else use_node)
    for model in OF_THE_LIST.get(name, MODELS):
        before = stack.requests("chat") + stack.requests("messages") + stack.requests("responses")
        done = use(name, DIR / name, settings(name, stack, model), model)
        reached = stack.requests("chat") + stack.requests("messages") + stack.requests("responses") - before
        printed = re.sub(r"\s+", " ", done.stdout)
        if not reached or STRUCTURED.get(name, USUAL) not in printed:
            raise RuntimeError(f"with {model}, {reached} requests, it printed:\n{done.stdout[-3000:]}")
    return version


def update(versions):
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    text = TABLE.read_text()
    for name, version in versions.items():
        row = re.compile(rf'(name: "{re.escape(name)}",.*?tried: )TestStatus::[^\n]*,\n', re.S)
        text, rows = row.subn(rf'\1TestStatus::Manual("{version}, {day}"),' + "\n", text, count=1)
        if rows == 0:
            raise RuntimeError(f"{TABLE} has no row for {name}")
    TABLE.write_text(text)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--update"]
    names = arguments or [name for name in [*PYTHON, *NODE] if name not in LARGE]
    DIR.mkdir(parents=True, exist_ok=True)
    stack, worked, failed = Stack(), {}, []
    try:
        # Some clients give a slash in a name a meaning of their own.
        maps = ["translated=claude-opus-4-5-20251101"]
        stack.add_provider("translated", "anthropic", stack.mock, maps, '{"host":"anthropic"}')
        for name in names:
            try:
                worked[name] = try_client(name, stack)
                print(f"{name}: {worked[name]} works", flush=True)
            except (RuntimeError, OSError, KeyError, TypeError, ValueError, subprocess.TimeoutExpired) as error:
                failed.append(name)
                print(f"{name}: FAILED: {error}", flush=True)
            end_daemons(DIR / name)
    finally:
        stack.stop()
    if "--update" in sys.argv:
        update(worked)
    print(f"{len(worked)} work, {len(failed)} do not: {', '.join(failed) or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
