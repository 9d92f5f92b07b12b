// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolServer
import Testing

@Suite("The OpenAPI document and the console page")
struct AssetTests {
    private func document() throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(OpenAPIDocument.json.utf8)) as? [String: Any])
    }

    @Test func `the document names every route`() throws {
        let paths = try #require(try document()["paths"] as? [String: [String: Any]])
        let expected = [
            "/v1/pools/{pool}/messages": ["post"], "/v1/pools/{pool}/emails": ["post"], "/v1/pools": ["get", "post"],
            "/v1/pools/{pool}": ["get", "delete"], "/v1/pools/{pool}/purge": ["post"], "/healthz": ["get"],
            "/v1/pools/{pool}/messages/{id}": ["get"], "/v1/pools/{pool}/outcomes": ["post"],
            "/v1/pools/{pool}/leases": ["get"], "/v1/pools/{pool}/leases/{shard}": ["put"],
            "/v1/pools/{pool}/workers/{worker}": ["put", "delete"],
            "/v1/pools/{pool}/dead-letters": ["get"], "/v1/pools/{pool}/dead-letters/{id}": ["get", "delete"],
            "/v1/pools/{pool}/dead-letters/redrive": ["get", "post", "delete"],
            "/readyz": ["get"], "/metrics": ["get"], "/openapi.json": ["get"], "/": ["get", "post"],
        ]
        #expect(Set(paths.keys) == Set(expected.keys))
        for (path, methods) in expected {
            #expect(Set(paths[path].map { $0.keys.filter { $0 != "parameters" } } ?? []) == Set(methods), "\(path)")
        }
    }

    @Test func `every operation has its own id, and says what an error looks like`() throws {
        let paths = try #require(try document()["paths"] as? [String: [String: Any]])
        let operations = paths.values.flatMap(\.values).compactMap { $0 as? [String: Any] }
        let ids = operations.compactMap { $0["operationId"] as? String }
        #expect(ids.count == operations.count)
        #expect(Set(ids).count == ids.count)
        #expect(operations.allSatisfy { $0["responses"] is [String: Any] })
    }

    @Test func `every reference leads somewhere`() throws {
        let root = try document()
        var open: [Any] = [root]
        var count = 0
        while let next = open.popLast() {
            if let list = next as? [Any] { open.append(contentsOf: list) }
            guard let object = next as? [String: Any] else { continue }
            open.append(contentsOf: object.values)
            guard let reference = object["$ref"] as? String else { continue }
            count += 1
            var target: Any? = root
            for part in reference.split(separator: "/").dropFirst() {
                target = (target as? [String: Any])?[String(part)]
            }
            #expect(target != nil, "\(reference)")
        }
        #expect(count > 20)
    }

    @Test func `429 and 503 carry Retry-After`() throws {
        let components = try #require(try document()["components"] as? [String: Any])
        let responses = try #require(components["responses"] as? [String: [String: Any]])
        for name in ["Throttled", "Unavailable"] {
            #expect((responses[name]?["headers"] as? [String: Any])?["Retry-After"] != nil)
        }
    }

    @Test func `the page takes nothing from elsewhere and writes no HTML`() {
        for forbidden in ["http://", "https://", "innerHTML", "insertAdjacent", "document.write", "eval(", "@import"] {
            #expect(!ConsolePage.html.contains(forbidden), "\(forbidden)")
        }
        #expect(ConsolePage.html.hasPrefix("<!doctype html>"))
    }
}
