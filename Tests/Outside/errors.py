# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""How errors look: to boto3, and as problem details."""

import contextlib

import pytest
from botocore.exceptions import ClientError


@contextlib.contextmanager
def fails(code, shape=None, status=400, text=None):
    """The block must fail with this code; `shape` is what the SDKs call QueryErrorCode."""
    with pytest.raises(ClientError) as caught:
        yield
    response = caught.value.response
    error = response["Error"]
    assert error["Code"] == code, error
    # Over the Query protocol an error has one name only; its XML has a place for details, which is empty.
    if "Detail" in error:
        assert error["Detail"] is None and "QueryErrorCode" not in error, error
    else:
        assert error.get("QueryErrorCode") == (shape or code.split(".")[-1]), error
    assert error.get("Type") == "Sender", error
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status, response["ResponseMetadata"]
    if text:
        assert text in error["Message"], error["Message"]


def invalid_value(text=None):
    return fails("InvalidParameterValue", "InvalidParameterValueException", text=text)


def missing(text=None):
    return fails("MissingParameter", "MissingRequiredParameterException", text=text)


def assert_problem(answer, status, field=None):
    """RFC 9457, and nothing of an HTML page."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:300]}"
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers
    problem = answer.json()
    assert problem["status"] == status
    for member in ("type", "title", "detail"):
        assert problem[member], problem
    if field:
        assert problem["field"] == field, problem
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 0
    return problem
