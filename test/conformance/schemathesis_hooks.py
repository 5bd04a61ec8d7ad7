"""Tokens last five minutes: the runner keeps a fresh one in a file."""

import os
from pathlib import Path

import schemathesis


@schemathesis.auth(refresh_interval=60)
class FreshToken:
    def get(self, case, context):
        return Path(os.environ["FHIR_TOKEN_FILE"]).read_text()

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"
