"""How each client is led to the gateway: what stands beside the results in docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    "openai (Python)": """
```python
client = openai.OpenAI(base_url="http://127.0.0.1:8400/v1", api_key="gw-…")
```

or `OPENAI_BASE_URL` and `OPENAI_API_KEY` in the environment, which everything built on it reads as well.
""",
    "openai (npm)": """
```js
const client = new OpenAI({ baseURL: "http://127.0.0.1:8400/v1", apiKey: "gw-…" });
```
""",
    "langchain-openai": """
```python
model = ChatOpenAI(model="gpt-4o-mini", base_url="http://127.0.0.1:8400/v1", api_key="gw-…")
```
""",
    "@langchain/openai (npm)": """
```js
const configuration = { baseURL: "http://127.0.0.1:8400/v1" };
const model = new ChatOpenAI({ model: "gpt-4o-mini", apiKey: "gw-…", configuration });
```
""",
    "openai-agents": """
```python
client = AsyncOpenAI(base_url="http://127.0.0.1:8400/v1", api_key="gw-…")
agent = Agent("assistant", model=OpenAIResponsesModel("gpt-4o-mini", client))
set_tracing_disabled(True)  # or it sends what it did to OpenAI
```
""",
    "pydantic-ai": """
`OPENAI_BASE_URL=http://127.0.0.1:8400/v1` and `OPENAI_API_KEY` in the environment; then `Agent("openai:gpt-4o-mini")`
speaks Responses, `Agent("openai-chat:gpt-4o-mini")` chats.
""",
    "instructor": """
```python
client = instructor.from_openai(openai.OpenAI(base_url="http://127.0.0.1:8400/v1", api_key="gw-…"))
```
""",
    "llama-index-llms-openai-like": """
```python
model = OpenAILike(
    model="gpt-4o-mini",
    api_base="http://127.0.0.1:8400/v1",
    api_key="gw-…",
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=128_000,
)
```
""",
    "llm": """
In `extra-openai-models.yaml` of the folder that `llm logs path` names; the key is set by `llm keys set piapi`:

```text
- model_id: piapi
  model_name: gpt-4o-mini
  api_base: http://127.0.0.1:8400/v1
  api_key_name: piapi
  supports_tools: true
  responses: true          # without this line: chats
```
""",
    "AI SDK (@ai-sdk/openai)": """
```js
const piapi = createOpenAI({ baseURL: "http://127.0.0.1:8400/v1", apiKey: "gw-…" });
const model = piapi("gpt-4o-mini");  // Responses; chats by piapi.chat("gpt-4o-mini")
```
""",
    "AI SDK (@ai-sdk/openai-compatible)": """
```js
const piapi = createOpenAICompatible({ name: "piapi", baseURL: "http://127.0.0.1:8400/v1", apiKey: "gw-…" });
```
""",
    "codex": """
In `~/.codex/config.toml`, with the virtual key in the environment, under the name that is given there. Its web search
is switched off, as no chat has one:

```toml
model = "gpt-4.1"
model_provider = "piapi"
web_search = "disabled"

[model_providers.piapi]
name = "piapi-gateway"
base_url = "http://127.0.0.1:8400/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
```
""",
    "anthropic (Python)": """
```python
client = Anthropic(base_url="http://127.0.0.1:8400", api_key="gw-…")  # without /v1
```
""",
    "Claude Code": """
```sh
export ANTHROPIC_BASE_URL=http://127.0.0.1:8400        # without /v1
export ANTHROPIC_AUTH_TOKEN=gw-…                       # the virtual key
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1      # it asks no other host
claude --model claude-sonnet-4-6
```
""",
    "aider": """
```sh
aider --model openai/gpt-4o-mini --openai-api-base http://127.0.0.1:8400/v1 --openai-api-key gw-…
```
""",
}
"""Client, as the results call it → its settings."""

ELSEWHERE: tuple[tuple[str, str, str], ...] = (
    ("curl, `sh`", "the lines of the README and the quickstart", "`tests/process/test_readme.py`"),
    ("plain sockets", "what no SDK sends: slow, broken, smuggled, pipelined", "`tests/server/`, `tests/raw_client.py`"),
    ("nginx in between", "streams, whole and broken answers through HTTP/1.0", "`tests/e2e/test_nginx.py`"),
    ("HAProxy in between", "its balancing, and real addresses", "`tests/e2e/test_haproxy.py`"),
    ("pages in Chromium", "preflights, streams, errors", "`tests/e2e/test_browser.py`"),
    ("Prometheus", "scraping, rules, alerts, the dashboards' queries", "`tests/deploy/`"),
)
"""What else the test suite drives: name, what, where."""
