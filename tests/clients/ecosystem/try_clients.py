"""Tries the clients of `llm-proxy connect` that a package registry has, with the settings that it
prints.

Each client is installed into a directory of its own below `CLIENTS_DIR`, run against a gateway
before the mock, once with the provider's own format and once translated, and must show the mock's
words. `--update` writes version and day into `src/config/clients.rs`, from which the guide is
generated.

    LLM_PROXY_BIN=target/debug/llm-proxy CLIENTS_DIR=target/clients/ecosystem python3 try_clients.py
    [--update] [NAME...]
"""

import datetime
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from stack import BINARY, ROOT, USUAL, Stack  # noqa: E402

DIR = Path(os.environ.get("CLIENTS_DIR", ROOT / "target" / "clients" / "ecosystem")).resolve()
TABLE = ROOT / "src" / "config" / "clients.rs"
# The format of the provider itself, and a translation.
MODELS = ["mock-small", "translated"]
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
}
NODE = {
    "vercel-ai": ["ai", "@ai-sdk/openai"],
    "langchain-js": ["@langchain/openai", "@langchain/core"],
    "opencode": ["opencode-ai"],
    "continue": ["@continuedev/cli"],
    "cline": ["cline"],
}
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
        check(run([*npm, *packages], INSTALL_SECONDS), "npm install")
        (home / "installed").touch()
    package = json.loads((home / "node_modules" / packages[0] / "package.json").read_text())
    return package["version"]


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


def use_python(name, home, text):
    script = home / "program.py"
    script.write_text(text)
    return run([home / "bin" / "python", script], RUN_SECONDS, env=environment(home), cwd=home)


def use_node(name, home, text):
    script = home / "program.mjs"
    script.write_text(text)
    return run(["node", script], RUN_SECONDS, env=environment(home), cwd=home)


def use_llm(name, home, text):
    env = {**environment(home), "LLM_USER_PATH": str(home / "home")}
    key = re.search(r"--value (\S+)", text)[1]
    check(run([home / "bin" / "llm", "keys", "set", "gateway", "--value", key], RUN_SECONDS, env=env), "llm keys set")
    rows = text[text.index("- model_id") :]
    (home / "home" / "extra-openai-models.yaml").write_text(rows.split("\n\n")[0])
    return run([home / "bin" / "llm", "-m", "gateway", "Hello"], RUN_SECONDS, env=env, cwd=home)


def use_aider(name, home, text):
    exports = dict(re.findall(r"export (\w+)=(\S+)", text))
    model = re.search(r"--model (\S+)", text)[1]
    quiet = ["--message", "Hello", "--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings"]
    quiet += ["--no-analytics", "--no-pretty", "--no-stream", "--edit-format", "ask"]
    command = [home / "bin" / "aider", "--model", model, *quiet]
    env = {**environment(home), **exports}
    return run(command, RUN_SECONDS, env=env, cwd=home / "home")


def use_opencode(name, home, text):
    env = environment(home)
    (home / "home" / "opencode.json").write_text(text[text.index("{") : text.rindex("}") + 1])
    model = re.search(r'"models": \{ "([^"]+)"', text)[1]
    command = [home / "node_modules" / ".bin" / "opencode", "run", "--model", f"gateway/{model}", "Hello"]
    return run(command, RUN_SECONDS, env=env, cwd=home / "home")


def use_continue(name, home, text):
    config = home / "home" / "config.yaml"
    env = {**environment(home), "CONTINUE_TELEMETRY_ENABLED": "0"}
    config.write_text(text)
    command = [home / "node_modules" / ".bin" / "cn", "--config", config, "-p", "Say hello"]
    return run(command, RUN_SECONDS, env=env, cwd=home / "home")


def use_cline(name, home, text):
    env = environment(home)
    program = home / "node_modules" / ".bin" / "cline"
    line = next(line for line in text.splitlines() if line.startswith("cline auth "))
    check(run([program, *shlex.split(line)[1:]], RUN_SECONDS, env=env), "cline auth")
    # A prompt of one word would be read as a command.
    return run([program, "Say hello to me"], RUN_SECONDS, env=env, cwd=home / "home")


SPECIAL = {"llm": use_llm, "aider": use_aider, "opencode": use_opencode, "continue": use_continue, "cline": use_cline}


def try_client(name, stack):
    """The version that works. Raises with what the client printed, if it does not."""
    version = install_python(name, PYTHON[name]) if name in PYTHON else install_node(name, NODE[name])
    use = SPECIAL.get(name, use_python if name in PYTHON else use_node)
    for model in MODELS:
        before = stack.requests("chat") + stack.requests("messages") + stack.requests("responses")
        done = use(name, DIR / name, settings(name, stack, model))
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
    names = arguments or [*PYTHON, *NODE]
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
    finally:
        stack.stop()
    if "--update" in sys.argv:
        update(worked)
    print(f"{len(worked)} work, {len(failed)} do not: {', '.join(failed) or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
