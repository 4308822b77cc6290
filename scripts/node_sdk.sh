#!/bin/sh
# Install the locked npm packages of the tests that drive the gateway with OpenAI's JavaScript SDK.
# Where Node is absent those tests skip, loudly; this script says so and does not fail.
set -eu
cd "$(dirname "$0")/../tests/node"
if ! command -v npm >/dev/null 2>&1; then
    echo "node_sdk: npm is not installed: the JavaScript SDK's tests will be SKIPPED" >&2
    exit 0
fi
if [ ! -d node_modules/openai ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --silent --no-audit --no-fund || echo "node_sdk: npm ci failed: the JavaScript SDK's tests will be SKIPPED" >&2
fi
