// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolSettings

@Suite struct `Settings of a token` {
    private func settings(
        _ flags: [String: [String]] = [:], _ environment: [String: String] = [:]
    ) async throws -> TokenSettings? {
        try await ClientSettings(flags: flags, environment: environment).token
    }

    @Test func `name a file, or come from the environment`() async throws {
        #expect(try await settings() == nil)
        #expect(try await settings(["token-file": ["a"]]) == .file("a"))
        #expect(try await settings([:], ["QUEUEPOOL_TOKEN_FILE": "b"]) == .file("b"))
        #expect(try await settings(["token-file": ["a"]], ["QUEUEPOOL_TOKEN_FILE": "b"]) == .file("a"))
        let text = try await settings([:], ["QUEUEPOOL_TOKEN": "qp_word"])
        #expect(text == .text(HiddenText(text: "qp_word")))
        #expect(!String(reflecting: text).contains("qp_word"))
    }

    @Test func `refuse a token on the command line, and two of them`() async {
        for (flags, environment) in [
            (["token": ["qp_word"]], [:]),
            (["token-file": ["a"]], ["QUEUEPOOL_TOKEN": "qp_word"]),
            ([:], ["QUEUEPOOL_TOKEN": "qp_word\r\nX: y"]),
        ] as [([String: [String]], [String: String])] {
            let error = await #expect(throws: SettingErrors.self) { try await settings(flags, environment) }
            #expect(error?.errors.map(\.name) == ["token"])
            #expect(error?.description.contains("qp_word") == false)
        }
    }

    @Test(arguments: [
        "http://192.0.2.1", "http://127.0.0.1.example", "http://localhost.example:1", "http://127.0.0.1@example",
        "http://127.0.0.1:1@example", "http://example/127.0.0.1", "http://127.0.0.1\\@example",
        "http://[2001:db8::1]:1",
    ])
    func `keep a token from a way that others read`(endpoint: String) async {
        let error = await #expect(throws: SettingErrors.self) {
            try await settings(["token-file": ["a"], "endpoint": [endpoint]])
        }
        #expect(error?.errors.map(\.name) == ["token-file"])
    }

    @Test(arguments: [
        "http://127.0.0.1:9324", "http://localhost", "http://[::1]:9324", "http://127.3.2.1/prefix", "https://example",
    ])
    func `let it go where nobody else reads it`(endpoint: String) async throws {
        #expect(try await settings(["token-file": ["a"], "endpoint": [endpoint]]) == .file("a"))
    }

    @Test func `know what a token is`() {
        for text in ["qp_A-z.9", "YQ==", "a/b+c~"] { #expect(TokenSettings.isToken(text), "\(text)") }
        for text in ["", "=", "a b", "a=b", "a\n", "\u{7}", "\u{e4}", String(repeating: "a", count: 4_097)] {
            #expect(!TokenSettings.isToken(text))
        }
    }
}
