"""Holds the documents that we publish to a second validator: OpenAPI as a whole, and every JSON Schema. Needs no
server."""

import json
from pathlib import Path

import openapi_spec_validator
from jsonschema import Draft202012Validator

from assertion import finish, holds, same

API = Path(__file__).resolve().parents[3] / "api"


def read(path):
    """A document."""
    return json.loads(path.read_text())


found = openapi_spec_validator.OpenAPIV31SpecValidator(read(API / "openapi.json")).iter_errors()
same("api/openapi.json is valid for openapi-spec-validator", [fault.message for fault in found], [])
meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
paths = sorted((API / "schemas").rglob("*.json"))
holds("there are schemas in api/schemas", len(paths) > 10, len(paths))
for path in paths:
    faults = [fault.message for fault in meta.iter_errors(read(path))]
    same(f"{path.relative_to(API)} is a valid schema of 2020-12", faults, [])
finish("schemas")
