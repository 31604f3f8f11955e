"""The examples of the page that documents the gateway, to the letter."""

BASE_URL = "https://your-server.example.com/v1"
KEY = "sk-nself-your-key-here"

PYTHON = """\
from openai import OpenAI

client = OpenAI(
    base_url="https://your-server.example.com/v1",
    api_key="sk-nself-your-key-here",
)

response = client.chat.completions.create(
    model="auto",
    messages=[{"role": "user", "content": "Explain nSelf plugins"}],
)
print(response.choices[0].message.content)
"""

JAVASCRIPT = """\
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "https://your-server.example.com/v1",
  apiKey: "sk-nself-your-key-here",
});

const response = await client.chat.completions.create({
  model: "auto",
  messages: [{ role: "user", content: "Explain nSelf plugins" }],
});
console.log(response.choices[0].message.content);
"""

CURL = """\
curl https://your-server.example.com/v1/chat/completions \\
  -H "Authorization: Bearer sk-nself-your-key-here" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "auto",
    "messages": [{"role": "user", "content": "Explain nSelf plugins"}]
  }'
"""

CURL_STREAM = """\
curl https://your-server.example.com/v1/chat/completions \\
  -H "Authorization: Bearer sk-nself-your-key-here" \\
  -H "Content-Type: application/json" \\
  -d '{"model":"auto","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
"""

MODELS = ("auto", "local", "gpt-4o", "gemini-1.5-flash", "claude-3-5-sonnet")

NGINX = """\
server {
    listen 443 ssl;
    server_name api.yourdomain.com;

    # SSL managed by nself build
    ssl_certificate     /etc/ssl/certs/fullchain.pem;
    ssl_certificate_key /etc/ssl/certs/privkey.pem;

    location /v1/ {
        proxy_pass http://127.0.0.1:3713/v1/;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_http_version 1.1;
        # Required for SSE streaming
        proxy_buffering off;
        proxy_cache off;
        chunked_transfer_encoding on;
    }
}
"""


def with_ours(example: str, base_url: str, key: str) -> str:
    """Return an example with our base URL and key, and nothing else changed."""
    assert BASE_URL in example
    assert KEY in example
    return example.replace(BASE_URL, base_url).replace(KEY, key)
