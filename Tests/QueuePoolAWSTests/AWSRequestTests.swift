// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolAWS

@Suite("A request to AWS")
struct AWSRequestTests {
    @Test("is a POST unless it says otherwise")
    func defaults() {
        let request = AWSRequest(service: "sqs", region: "eu-central-1", url: "http://127.0.0.1:1/")
        #expect(request.method == "POST" && request.body.isEmpty && request.headers.isEmpty)
    }
}
