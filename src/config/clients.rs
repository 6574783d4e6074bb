//! Clients and their settings. One row each; `docs/guides/clients.md` is made of them.

/// A client of the gateway.
#[derive(Debug)]
pub struct Client {
    /// As it is typed.
    pub name: &'static str,
    pub title: &'static str,
    /// The format that the client uses with these settings.
    pub speaks: &'static str,
    pub tried: TestStatus,
    /// Where the settings go.
    pub place: &'static str,
    /// The language of the settings, as Markdown names it.
    pub language: &'static str,
    /// `{root}` is the gateway's address, `{v1}` the same with `/v1`; then `{key}` and `{model}`.
    settings: &'static str,
    /// What else is worth knowing; may be empty.
    pub note: &'static str,
}

/// How far the settings are known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestStatus {
    /// This version is part of `tests/clients`.
    Automated(&'static str),
    /// Tried by hand with this version, on this day.
    Manual(&'static str),
    /// Nobody has tried them, for this reason: what it takes, as a clause.
    Untested(&'static str),
}

impl Client {
    /// Returns the settings for the gateway at `url`, which has neither `/v1` nor a slash at its
    /// end.
    pub fn settings(&self, url: &str, key: &str, model: &str) -> String {
        let text = self.settings.trim().replace("{v1}", &format!("{url}/v1")).replace("{root}", url);
        text.replace("{model}", model).replace("{key}", key)
    }
}

const CHAT: &str = "OpenAI Chat Completions";
const MESSAGES: &str = "Anthropic Messages";
const RESPONSES: &str = "OpenAI Responses";

/// The clients for which `llm-proxy connect` prints settings.
pub const CLIENTS: &[Client] = &[
    Client {
        name: "curl",
        title: "curl",
        speaks: "all three formats",
        tried: TestStatus::Manual("7.88.1, 2026-11-30"),
        place: "In a shell",
        language: "sh",
        settings: r#"
curl -s {v1}/chat/completions -H "Authorization: Bearer {key}" \
    -d '{"model":"{model}","messages":[{"role":"user","content":"Hello"}]}'
curl -s {v1}/messages -H "x-api-key: {key}" \
    -d '{"model":"{model}","max_tokens":99,"messages":[{"role":"user","content":"Hello"}]}'
curl -s {v1}/responses -H "Authorization: Bearer {key}" \
    -d '{"model":"{model}","input":"Hello"}'
"#,
        note: "",
    },
    Client {
        name: "openai-python",
        title: "OpenAI SDK, Python",
        speaks: CHAT,
        tried: TestStatus::Automated("3.54.0"),
        place: "In your program",
        language: "python",
        settings: r#"
from openai import OpenAI

client = OpenAI(base_url="{v1}", api_key="{key}")
messages = [{"role": "user", "content": "Hello"}]
answer = client.chat.completions.create(model="{model}", messages=messages)
print(answer.choices[0].message.content)
"#,
        note: "`client.responses` works with the same settings. Without code: `OPENAI_BASE_URL` and \
               `OPENAI_API_KEY`.",
    },
    Client {
        name: "openai-node",
        title: "OpenAI SDK, Node.js",
        speaks: CHAT,
        tried: TestStatus::Automated("7.57.0"),
        place: "In your program",
        language: "js",
        settings: r#"
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "{v1}", apiKey: "{key}" });
const messages = [{ role: "user", content: "Hello" }];
const answer = await client.chat.completions.create({ model: "{model}", messages });
console.log(answer.choices[0].message.content);
"#,
        note: "",
    },
    Client {
        name: "anthropic-python",
        title: "Anthropic SDK, Python",
        speaks: MESSAGES,
        tried: TestStatus::Automated("2.12.0"),
        place: "In your program",
        language: "python",
        settings: r#"
from anthropic import Anthropic

client = Anthropic(base_url="{root}", api_key="{key}")
messages = [{"role": "user", "content": "Hello"}]
print(client.messages.create(model="{model}", max_tokens=99, messages=messages).content[0].text)
"#,
        note: "The base has no `/v1`: the SDK adds it.",
    },
    Client {
        name: "anthropic-node",
        title: "Anthropic SDK, Node.js",
        speaks: MESSAGES,
        tried: TestStatus::Automated("1.12.0"),
        place: "In your program",
        language: "js",
        settings: r#"
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "{root}", apiKey: "{key}" });
const messages = [{ role: "user", content: "Hello" }];
const answer = await client.messages.create({ model: "{model}", max_tokens: 99, messages });
console.log(answer.content[0].text);
"#,
        note: "The base has no `/v1`: the SDK adds it.",
    },
    Client {
        name: "vercel-ai",
        title: "Vercel AI SDK",
        speaks: CHAT,
        tried: TestStatus::Manual("6.0.326, 2026-12-01"),
        place: "In your program",
        language: "js",
        settings: r#"
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const gateway = createOpenAI({ baseURL: "{v1}", apiKey: "{key}" });
const { text } = await generateText({ model: gateway.chat("{model}"), prompt: "Hello" });
console.log(text);
"#,
        note: "`gateway(\"...\")` without `.chat` speaks Responses. `createAnthropic` of `@ai-sdk/anthropic` wants \
               a base that ends in `/v1`, unlike Anthropic's own SDK.",
    },
    Client {
        name: "langchain-python",
        title: "LangChain, Python",
        speaks: CHAT,
        tried: TestStatus::Manual("1.7.4, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
from langchain_openai import ChatOpenAI

llm = ChatOpenAI(model="{model}", base_url="{v1}", api_key="{key}")
print(llm.invoke("Hello").content)
"#,
        note: "`ChatAnthropic` of `langchain_anthropic` takes the base without `/v1`.",
    },
    Client {
        name: "langchain-js",
        title: "LangChain, JavaScript",
        speaks: CHAT,
        tried: TestStatus::Manual("1.5.8, 2026-12-01"),
        place: "In your program",
        language: "js",
        settings: r#"
import { ChatOpenAI } from "@langchain/openai";

const configuration = { baseURL: "{v1}" };
const llm = new ChatOpenAI({ model: "{model}", apiKey: "{key}", configuration });
console.log((await llm.invoke("Hello")).content);
"#,
        note: "",
    },
    Client {
        name: "llamaindex",
        title: "LlamaIndex",
        speaks: CHAT,
        tried: TestStatus::Manual("0.8.1, 2026-12-01"),
        place: "In your program, with the package `llama-index-llms-openai-like`",
        language: "python",
        settings: r#"
from llama_index.llms.openai_like import OpenAILike

base = {"api_base": "{v1}", "api_key": "{key}"}
llm = OpenAILike(model="{model}", is_chat_model=True, is_function_calling_model=True, **base)
print(llm.complete("Hello"))
"#,
        note: "Its class `OpenAI` refuses names of models that it does not know; `OpenAILike` takes any.",
    },
    Client {
        name: "pydantic-ai",
        title: "Pydantic AI",
        speaks: CHAT,
        tried: TestStatus::Manual("2.68.0, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="{v1}", api_key="{key}")
agent = Agent(OpenAIChatModel("{model}", provider=provider))
print(agent.run_sync("Hello").output)
"#,
        note: "",
    },
    Client {
        name: "openai-agents",
        title: "OpenAI Agents SDK",
        speaks: RESPONSES,
        tried: TestStatus::Manual("0.24.0, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
from agents import Agent, Runner, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

set_default_openai_client(AsyncOpenAI(base_url="{v1}", api_key="{key}"))
set_tracing_disabled(True)
print(Runner.run_sync(Agent(name="Assistant", model="{model}"), "Hello").final_output)
"#,
        note: "Traces go to OpenAI with the key of the client, which OpenAI does not know: hence \
               `set_tracing_disabled`. A slash in a model's name means a prefix of the SDK's own there; map the \
               model to a name without one.",
    },
    Client {
        name: "instructor",
        title: "Instructor",
        speaks: CHAT,
        tried: TestStatus::Manual("1.17.0, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
import instructor
from openai import OpenAI
from pydantic import BaseModel


class Answer(BaseModel):
    text: str


client = instructor.from_openai(OpenAI(base_url="{v1}", api_key="{key}"))
messages = [{"role": "user", "content": "Hello"}]
print(client.chat.completions.create(model="{model}", response_model=Answer, messages=messages))
"#,
        note: "",
    },
    Client {
        name: "dspy",
        title: "DSPy",
        speaks: CHAT,
        tried: TestStatus::Manual("3.4.1, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
import dspy

lm = dspy.LM("openai/{model}", api_base="{v1}", api_key="{key}")
dspy.configure(lm=lm)
print(dspy.Predict("question -> answer")(question="What is a gateway?").answer)
"#,
        note: "`openai/` before the model is for DSPy, and is not sent.",
    },
    Client {
        name: "smolagents",
        title: "smolagents",
        speaks: CHAT,
        tried: TestStatus::Manual("1.26.0, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
from smolagents import OpenAIModel

base = {"api_base": "{v1}", "api_key": "{key}"}
model = OpenAIModel(model_id="{model}", **base)
print(model([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]).content)
"#,
        note: "",
    },
    Client {
        name: "haystack",
        title: "Haystack",
        speaks: CHAT,
        tried: TestStatus::Manual("3.4.1, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret

key = Secret.from_token("{key}")
base = {"api_base_url": "{v1}", "api_key": key}
generator = OpenAIChatGenerator(model="{model}", **base)
print(generator.run([ChatMessage.from_user("Hello")])["replies"][0].text)
"#,
        note: "",
    },
    Client {
        name: "litellm",
        title: "LiteLLM as a client",
        speaks: CHAT,
        tried: TestStatus::Manual("1.110.2, 2026-12-01"),
        place: "In your program",
        language: "python",
        settings: r#"
import litellm

messages = [{"role": "user", "content": "Hello"}]
base = {"api_base": "{v1}", "api_key": "{key}"}
answer = litellm.completion(model="openai/{model}", messages=messages, **base)
print(answer.choices[0].message.content)
"#,
        note: "`openai/` before the model is for LiteLLM, and is not sent. `anthropic/` speaks Messages, with the \
               base without `/v1`.",
    },
    Client {
        name: "llm",
        title: "llm",
        speaks: CHAT,
        tried: TestStatus::Manual("0.36, 2026-12-01"),
        place: "In `extra-openai-models.yaml` in the directory that `dirname \"$(llm logs path)\"` prints; the key \
                with `llm keys set gateway`",
        language: "yaml",
        settings: r#"
# llm keys set gateway --value {key}
- model_id: gateway
  model_name: {model}
  api_base: "{v1}"
  api_key_name: gateway
"#,
        note: "Then `llm -m gateway Hello`.",
    },
    Client {
        name: "aider",
        title: "aider",
        speaks: CHAT,
        tried: TestStatus::Manual("0.86.2, 2026-12-01"),
        place: "In a shell",
        language: "sh",
        settings: r#"
export OPENAI_API_BASE={v1}
export OPENAI_API_KEY={key}
aider --model openai/{model}
"#,
        note: "",
    },
    Client {
        name: "opencode",
        title: "opencode",
        speaks: CHAT,
        tried: TestStatus::Manual("1.18.33, 2026-12-01"),
        place: "In `opencode.json` of the project, or `~/.config/opencode/opencode.json`",
        language: "json",
        settings: r#"
{
  "$schema": "https://opencode.ai/config.json",
  "provider": {
    "gateway": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "llm-proxy",
      "options": { "baseURL": "{v1}", "apiKey": "{key}" },
      "models": { "{model}": { "name": "{model}" } }
    }
  }
}
"#,
        note: "",
    },
    Client {
        name: "claude-code",
        title: "Claude Code",
        speaks: MESSAGES,
        tried: TestStatus::Automated("2.1.332"),
        place: "In a shell, or under `env` in `~/.claude/settings.json`",
        language: "sh",
        settings: r#"
export ANTHROPIC_BASE_URL={root}
export ANTHROPIC_AUTH_TOKEN={key}
export ANTHROPIC_MODEL={model}
export ANTHROPIC_SMALL_FAST_MODEL={model}
claude
"#,
        note: "Without the two variables for models it asks for Claude's own names, which a mapping can lead to any \
               model.",
    },
    Client {
        name: "codex",
        title: "Codex",
        speaks: RESPONSES,
        tried: TestStatus::Automated("0.169.0"),
        place: "In `~/.codex/config.toml`; the key is in the variable `GATEWAY_KEY`",
        language: "toml",
        settings: r#"
# export GATEWAY_KEY={key}
model = "{model}"
model_provider = "gateway"

[model_providers.gateway]
name = "gateway"
base_url = "{v1}"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"#,
        note: "",
    },
    Client {
        name: "open-webui",
        title: "Open WebUI",
        speaks: CHAT,
        tried: TestStatus::Manual("0.12.4, 2026-12-01"),
        place: "As variables of its container, or in Admin Panel, Settings, Connections",
        language: "sh",
        settings: r#"
docker run -d -p 3000:8080 -e OPENAI_API_BASE_URL={v1} \
    -e OPENAI_API_KEY={key} -v open-webui:/app/backend/data ghcr.io/open-webui/open-webui:main
"#,
        note: "Inside a container `127.0.0.1` is the container: give an address of the host, with `--url`.",
    },
    Client {
        name: "librechat",
        title: "LibreChat",
        speaks: CHAT,
        tried: TestStatus::Untested("it is a container beside a MongoDB, and no package registry has it"),
        place: "In `librechat.yaml`",
        language: "yaml",
        settings: r#"
version: 1.2.8
endpoints:
  custom:
    - name: "llm-proxy"
      apiKey: "{key}"
      baseURL: "{v1}"
      models:
        default: ["{model}"]
        fetch: true
      titleConvo: true
      titleModel: "{model}"
"#,
        note: "",
    },
    Client {
        name: "continue",
        title: "Continue",
        speaks: CHAT,
        tried: TestStatus::Manual("1.5.47, 2026-12-01"),
        place: "In `~/.continue/config.yaml`",
        language: "yaml",
        settings: r#"
name: gateway
version: 0.0.1
schema: v1
models:
  - name: gateway
    provider: openai
    model: {model}
    apiBase: {v1}
    apiKey: {key}
"#,
        note: "",
    },
    Client {
        name: "cline",
        title: "Cline",
        speaks: CHAT,
        tried: TestStatus::Manual("3.0.65, 2026-12-01"),
        place: "For the command line",
        language: "bash",
        settings: r#"
cline auth --provider openai --apikey {key} --modelid {model} --baseurl {v1}
"#,
        note: "In an editor the same base URL, key and model go into the settings, under API Configuration, \
               with API Provider `OpenAI Compatible`.",
    },
    Client {
        name: "n8n",
        title: "n8n",
        speaks: CHAT,
        tried: TestStatus::Manual("2.40.7, 2026-12-01"),
        place: "As a credential of the type OpenAI",
        language: "text",
        settings: r#"
API Key: {key}
Base URL: {v1}
Model in the node (By ID): {model}
"#,
        note: "",
    },
    Client {
        name: "dify",
        title: "Dify",
        speaks: CHAT,
        tried: TestStatus::Untested("it is a dozen containers, and no package registry has it"),
        place: "In Settings, Model Provider, with the plugin OpenAI-API-compatible",
        language: "text",
        settings: r#"
Model Type: LLM
Model Name: {model}
API Key: {key}
API endpoint URL: {v1}
Completion mode: Chat
"#,
        note: "",
    },
];
