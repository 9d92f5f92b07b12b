# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The document at /openapi.json against the server that serves it."""

import json
import re
import uuid

import pytest
import requests
from conftest import ROOT

ROUTES = re.compile(r'router\.(get|post|put|delete|patch)\("([^"]+)"\)')


@pytest.fixture(scope="module")
def document(server):
    answer = server.get("/openapi.json")
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json()


def operations(document):
    for path, item in document["paths"].items():
        for method in ("get", "post", "put", "delete", "patch"):
            if method in item:
                yield path, method, item[method]


def resolve(document, schema):
    while "$ref" in schema:
        node = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        schema = node
    return schema


KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
         "null": type(None)}


def fault(document, schema, value, at="$", closed=True):
    """Why a value does not fit a schema of the kinds this document uses; None if it fits."""
    schema = resolve(document, schema)
    for part in schema.get("allOf", []):
        if why := fault(document, part, value, at, closed=False):
            return why
    if "oneOf" in schema:
        fits = [part for part in schema["oneOf"] if fault(document, part, value, at) is None]
        return None if len(fits) == 1 else f"{at}: fits {len(fits)} of oneOf"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[k]) and not (isinstance(value, bool) and k != "boolean") for k in kinds):
        return f"{at}: {value!r} is not {kinds}"
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{at}: {value} out of range"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{at}: {value!r} against {schema['pattern']}"
    if isinstance(value, str) and schema.get("format") == "uuid":
        uuid.UUID(value)
    if isinstance(value, list):
        return next((w for i, v in enumerate(value) if (w := fault(document, schema.get("items", {}), v, f"{at}[{i}]"))),
                    None)
    if isinstance(value, dict):
        for member in schema.get("required", []):
            if member not in value:
                return f"{at}: {member} is missing"
        properties = schema.get("properties", {})
        undocumented = set(value) - set(properties)
        if closed and properties and undocumented and "additionalProperties" not in schema:
            return f"{at}: {sorted(undocumented)} is not documented"
        for member, part in properties.items():
            if member in value and (why := fault(document, part, value[member], f"{at}.{member}")):
                return why
    return None


def check_answer(document, operation, answer):
    responses = operation["responses"]
    assert str(answer.status_code) in responses, f"{answer.status_code} is not documented: {answer.text[:200]}"
    content = resolve(document, responses[str(answer.status_code)]).get("content")
    if content is None:
        assert answer.content == b"", f"a body is not documented for {answer.status_code}"
        return
    kind = answer.headers["Content-Type"].split(";")[0]
    assert kind in content, f"{kind} is not documented for {answer.status_code}"
    schema = content[kind]["schema"]
    if kind.endswith("ndjson"):
        values, schema = [json.loads(line) for line in answer.text.splitlines()], schemas(document)["LineResult"]
    else:
        values = [answer.json()] if kind.endswith("json") else []
    for value in values:
        assert fault(document, schema, value) is None, fault(document, schema, value)


def schemas(document):
    return document["components"]["schemas"]


def test_every_documented_example_is_answered_as_documented(document, server):
    asked = 0
    for path, method, operation in operations(document):
        pool = "emails.fifo"
        if method == "delete":
            # The others need theirs.
            pool = "documented-delete.fifo"
            assert server.post("/v1/pools", json={"name": pool, "shards": 1}).status_code in (200, 201)
        url = server.url + path.replace("{pool}", pool)
        bodies = resolve(document, operation.get("requestBody", {})).get("content", {None: {}})
        for kind, body in bodies.items():
            for example in body.get("examples", {"none": {}}).values() or [{}]:
                value = example.get("value", "")
                data = value if isinstance(value, str) else json.dumps(value)
                headers = {"Content-Type": kind} if kind else {}
                if kind == "application/x-amz-json-1.0":
                    headers["X-Amz-Target"] = "AmazonSQS.SendMessage"
                answer = requests.request(method, url, data=data, headers=headers, timeout=30)
                check_answer(document, operation, answer)
                if value:
                    assert answer.status_code < 300, f"{method} {path} {kind}: {answer.status_code} {answer.text[:300]}"
                asked += 1
    assert asked >= 12


def test_documented_failures_are_answered_as_documented(document, server):
    asked = 0
    for path, method, operation in operations(document):
        if not path.startswith("/v1/"):
            continue
        trials = [(path.replace("{pool}", "absent.fifo"), {"Content-Type": "application/json"}, "{}", 404)]
        good = path.replace("{pool}", "emails.fifo")
        trials += [(good, {"Content-Type": "application/json"}, "{", 400),
                   (good, {"Content-Type": "application/json"}, " " * 60_000_000, 413),
                   (good, {"Content-Type": "text/csv"}, "a,b", 415)]
        for url, headers, data, status in trials:
            if str(status) in operation["responses"]:
                answer = requests.request(method, server.url + url, data=data, headers=headers, timeout=30)
                assert answer.status_code == status, f"{method} {url} {headers}: {answer.status_code}, not {status}"
                check_answer(document, operation, answer)
                asked += 1
    assert asked >= 10


def test_every_route_is_documented(document, server):
    """The routes are read from the source; each must be in the document, and the other way round."""
    source = "".join(path.read_text() for path in (ROOT / "Sources/QueuePoolServer").rglob("*Routes.swift"))
    routes = {(method, re.sub(r":(\w+)", r"{\1}", path)) for method, path in ROUTES.findall(source)}
    documented = {(method, path) for path, method, _ in operations(document)}
    assert routes, "no route was found in the source"
    assert routes - documented == set()
    assert documented - routes - {("post", "/")} == set()


def test_methods_that_are_not_documented_are_refused(document, server):
    for path, item in document["paths"].items():
        for method in {"get", "post", "put", "delete", "patch"} - set(item):
            answer = requests.request(method, server.url + path.replace("{pool}", "emails.fifo"), timeout=10)
            assert answer.status_code == 405, f"{method} {path}: {answer.status_code}"


def test_documented_forms_of_the_sqs_door_are_served(document, server):
    for kind in document["paths"]["/"]["post"]["requestBody"]["content"]:
        headers = {"Content-Type": kind, "X-Amz-Target": "AmazonSQS.ListQueues"}
        form = kind == "application/x-www-form-urlencoded"
        if form:
            headers.pop("X-Amz-Target")
        answer = server.post("/", data="Action=ListQueues&Version=2012-11-05" if form else "{}", headers=headers)
        assert answer.status_code == 200, f"{kind}: {answer.status_code}"


def test_an_email_needs_what_the_document_says(document):
    assert set(schemas(document)["Email"]["required"]) == {"from"}, "one of to, cc and bcc is enough"


def test_every_reference_leads_somewhere(document):
    for reference in re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)):
        assert resolve(document, {"$ref": reference})
